"""How a command ends: the exit codes, and the one place that turns an error into a line and a code.

docs/exit-codes.md says what to do about each code.
"""

import sys
import traceback
from collections.abc import Callable

import click

from mesh.exits import Exit, Stopped


def run(command: Callable[[], object]) -> int:
    """Run `command`; whatever it raises becomes one line on standard error. Returns the exit code."""
    try:
        command()
    except click.exceptions.Exit as asked:
        return asked.exit_code
    except SystemExit as asked:
        return _of_system_exit(asked)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except Exception as error:  # the last stop of every error: it is told, never lost
        exit_code, message = explained(error)
        sys.stderr.write(f"moorage: {' '.join(message.split())}\n")
        if exit_code is Exit.UNEXPECTED and not _came_from_a_service(error):
            _show_where(error)
        return exit_code
    return Exit.OK


def explained(error: Exception) -> tuple[Exit, str]:
    """The exit code for an error, and the line that is shown."""
    match error:
        case Stopped():
            return error.code, str(error)
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "moorage"
            return Exit.USAGE, f"{error.format_message()} See '{command} --help'."
        case click.ClickException():
            return Exit.UNEXPECTED, error.format_message()
    return _explained_by_class(error) or (
        Exit.UNEXPECTED,
        f"unexpected {type(error).__name__}: {error}; please report it",
    )


# Which exit code a status code gives; reasons that have an exit code of their own come first.
_REASONS = {
    "TOKEN_MALFORMED": Exit.TOKEN_MALFORMED,
    "TOKEN_REFUSED": Exit.TOKEN_REFUSED,
    "TOO_MANY_STREAMS": Exit.UNAVAILABLE,
    "RATE_LIMITED": Exit.UNAVAILABLE,
}
_STATUS_CODES = {
    "INVALID_ARGUMENT": Exit.BAD_INPUT,
    "OUT_OF_RANGE": Exit.BAD_INPUT,
    "RESOURCE_EXHAUSTED": Exit.BAD_INPUT,
    "NOT_FOUND": Exit.NOT_FOUND,
    "PERMISSION_DENIED": Exit.REFUSED,
    "UNAUTHENTICATED": Exit.REFUSED,
    "ALREADY_EXISTS": Exit.CONFLICT,
    "ABORTED": Exit.CONFLICT,
    "FAILED_PRECONDITION": Exit.CONFLICT,
    "UNAVAILABLE": Exit.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Exit.DEADLINE,
}


# Errors of ours by the module and name of their class: a module that is not loaded cannot have raised any, so nothing
# is imported here that was not already.
_ERRORS = {
    ("certs.token", "TokenMalformed"): Exit.TOKEN_MALFORMED,
    ("certs.errors", "CertsError"): Exit.BAD_INPUT,
    ("mesh.settings", "SettingsRefused"): Exit.USAGE,
    ("mesh.probe", "PinMismatch"): Exit.PIN_MISMATCH,
    ("mesh.enrolment", "PlaneUnreachable"): Exit.UNAVAILABLE,
    ("mesh.enrolment", "IssuedIdentityRefused"): Exit.REFUSED,
}


def _explained_by_class(error: Exception) -> tuple[Exit, str] | None:
    for ancestor in type(error).__mro__:
        if ancestor.__module__.startswith("grpc") and ancestor.__name__ == "RpcError":
            return _explained_call(error)
        exit_code = _ERRORS.get((ancestor.__module__, ancestor.__name__))
        if exit_code is not None:
            return exit_code, str(error)
    return None


def _came_from_a_service(error: Exception) -> bool:
    grpc = sys.modules.get("grpc")
    return grpc is not None and isinstance(error, grpc.RpcError)


def _explained_call(error: Exception) -> tuple[Exit, str]:
    from grpc import RpcError

    from mesh.errors import Problem

    assert isinstance(error, RpcError)  # noqa: S101 - the caller looked
    problem = Problem.of(error)
    exit_code = _REASONS.get(problem.reason) or _STATUS_CODES.get(problem.code.name, Exit.UNEXPECTED)
    said = problem.message or problem.code.name
    # In brackets: the reason, and the fields of which all else has been said.
    blamed = [each.field for each in problem.violations if each.description in said and each.field not in said]
    brackets = ", ".join(part for part in (problem.reason, *blamed) if part)
    reason = f" [{brackets}]" if brackets else ""
    fields = "; ".join(
        f"{each.field}: {each.description}" for each in problem.violations if each.description not in said
    )
    # The request id is of use to whoever reads the service's log, which is nobody unless the fault is the service's.
    told = {
        key: value for key, value in problem.metadata.items() if key != "request_id" or exit_code is Exit.UNEXPECTED
    }
    details = ", ".join(f"{key} {value}" for key, value in told.items() if value not in said)
    return exit_code, ". ".join(part.rstrip(".") for part in (said + reason, fields, problem.remedy, details) if part)


def _of_system_exit(asked: SystemExit) -> int:
    if asked.code is None:
        return Exit.OK
    if isinstance(asked.code, int):
        return asked.code
    sys.stderr.write(f"{asked.code}\n")
    return Exit.UNEXPECTED


def _show_where(error: Exception) -> None:
    # Only the place: a full traceback is noise to most, and source lines may show what should stay private.
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        sys.stderr.write(f"moorage: raised at {last.filename}:{last.lineno} in {last.name}\n")

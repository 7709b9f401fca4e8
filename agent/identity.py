"""Who the agent is when it starts: the identity in its home, or a new one for a one-time token."""

import asyncio
from pathlib import Path
from typing import NoReturn

import grpc
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses
from moorage.errors.v1.errors_pb2 import Reason

from agent.home import Home
from certs.clock import Clock
from certs.identity import Identity, IdentityRefused, LoadedIdentity
from certs.spiffe import Kind, SpiffeId, SpiffeIdRefused
from certs.token import OneTimeToken, TokenMalformed
from mesh import telemetry
from mesh.enrolment import IssuedIdentityRefused, PlaneUnreachable, enrol
from mesh.errors import Problem
from mesh.exits import Exit, Stopped
from mesh.probe import PinMismatch

_log = telemetry.logger("identity")


TOKEN_VARIABLE = "MOORAGE_TOKEN"  # noqa: S105 - the name of a variable
"""The environment variable that may hold the one-time token, as it may for `moorage pair`."""


async def identity_to_start_with(
    home: Home,
    runtime_id: str,
    token_file: Path | None,
    token_line: str | None,
    clock: Clock,
    token_variable: str | None = None,
) -> LoadedIdentity:
    """The identity in `home` if it can be used, else the one that the token gives, once it is in `home`.

    One that expired counts where there is no token and it is known where it can be recovered: the agent's renewal does
    that. An empty `runtime_id` takes any Runtime's. `token_line` goes before `token_file`, which is removed once it is
    used up, and that before `token_variable`. While the plane is away, enrolment is tried on and on.

    Raises `Stopped`: REFUSED where there is neither identity nor token or they are not for this Runtime;
    TOKEN_MALFORMED, TOKEN_REFUSED, PIN_MISMATCH, HOME_NOT_WRITABLE, USAGE (a token that others can read).
    """
    identity = Identity(home.identity, clock)
    try:
        return _usable(identity, runtime_id, clock)
    except _NotUsable as error:
        token = _token(token_file, token_line, token_variable)
        if token is None and error.expired is not None and home.addresses().enrolment:
            _log.warning("to be recovered", because=str(error))
            return error.expired
        if token is None:
            where = f"into {token_file}" if token_file else "into a file that the setting `token_file` names"
            raise Stopped(
                Exit.REFUSED,
                f"{error}: ask an administrator for a one-time token for this runtime (`moorage token issue`), put it "
                f"{where} with mode 0600, and start again",
            ) from error
        _log.info("enrolling", address=token.address, because=str(error))
    addresses = await _enrolled(token, identity, clock)
    await asyncio.to_thread(_keep, home, addresses, token_file if token_line is None else None)
    try:
        return _usable(identity, runtime_id, clock)
    except _NotUsable as error:
        raise Stopped(Exit.REFUSED, f"{error}: the token was for another runtime, or the clock is wrong") from error


class _NotUsable(Exception):
    """The message says why; `expired` is the identity of this Runtime that was usable once."""

    def __init__(self, message: str, expired: LoadedIdentity | None = None) -> None:
        super().__init__(message)
        self.expired = expired


def _usable(identity: Identity, runtime_id: str, clock: Clock) -> LoadedIdentity:
    try:
        loaded = identity.load()
    except (IdentityRefused, OSError) as error:
        raise _NotUsable(f"there is no identity to start with ({error})") from error
    if not _is_of_runtime(loaded.spiffe_id, runtime_id):
        raise _NotUsable(f"the identity in {identity.folder} is {loaded.spiffe_id}, not runtime {runtime_id}")
    if loaded.not_after <= clock():
        raise _NotUsable(f"the identity in {identity.folder} ended at {loaded.not_after.isoformat()}", loaded)
    return loaded


def _is_of_runtime(spiffe_id: SpiffeId, runtime_id: str) -> bool:
    try:
        return spiffe_id.kind is Kind.RUNTIME and runtime_id in ("", spiffe_id.name)
    except SpiffeIdRefused:
        return False


def _token(token_file: Path | None, token_line: str | None, token_variable: str | None) -> OneTimeToken | None:
    source = "standard input" if token_line is not None else str(token_file)
    try:
        text = token_line if token_line is not None else _text(token_file)
        if text is None:
            source, text = f"${TOKEN_VARIABLE}", token_variable
        return OneTimeToken.decode(text) if text is not None else None
    except (TokenMalformed, UnicodeDecodeError) as error:
        raise Stopped(Exit.TOKEN_MALFORMED, f"no one-time token on {source}: {error}") from error
    except OSError as error:
        raise Stopped(Exit.TOKEN_MALFORMED, f"{token_file} cannot be read: {error.strerror}") from error


def _text(token_file: Path | None) -> str | None:
    if token_file is None:
        return None
    try:
        with token_file.open(encoding="utf-8") as file:
            if token_file.stat().st_mode & _OTHERS:
                raise Stopped(Exit.USAGE, f"{token_file} can be used by everybody: chmod 600 it, and start again")
            return file.read(_MAX_CHARACTERS)
    except FileNotFoundError:
        return None


async def _enrolled(token: OneTimeToken, identity: Identity, clock: Clock) -> PlaneAddresses:
    while True:
        try:
            return await enrol(token, identity, expected_kind=Kind.RUNTIME, clock=clock)
        except PlaneUnreachable as error:
            _log.warning("the plane is away; enrolment is tried on", failure=str(error))
        except PinMismatch as error:
            raise Stopped(
                Exit.PIN_MISMATCH, f"{token.address} is not the plane that the token is for: {error}"
            ) from error
        except IssuedIdentityRefused as error:
            raise Stopped(Exit.REFUSED, str(error)) from error
        except grpc.aio.AioRpcError as error:
            _stop(Problem.of(error), error)
        except OSError as error:
            raise Stopped(Exit.HOME_NOT_WRITABLE, f"{identity.folder} cannot be written: {error.strerror}") from error


def _stop(problem: Problem, cause: Exception) -> NoReturn:
    if problem.is_reason(Reason.REASON_TOKEN_MALFORMED):
        code = Exit.TOKEN_MALFORMED
    elif problem.is_reason(Reason.REASON_TOKEN_REFUSED):
        code = Exit.TOKEN_REFUSED
    else:
        code = Exit.REFUSED
    raise Stopped(code, f"not enrolled: {problem.message}. {problem.remedy}".strip()) from cause


def _keep(home: Home, addresses: PlaneAddresses, token_file: Path | None) -> None:
    try:
        home.save_addresses(addresses)
        if token_file is not None:
            token_file.unlink(missing_ok=True)
    except OSError as error:
        # Only after the identity is on disk: what is used up helps nobody.
        _log.warning("enrolled, but not all was tidied up", path=error.filename, failure=error.strerror)


_OTHERS = 0o007
_MAX_CHARACTERS = 4096

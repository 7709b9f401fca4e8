"""From a one-time token to an identity in a folder: what `moorage pair` and `moorage login` have in common."""

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.connection import ADDRESSES_FILE
from cli.options import FILE, Span, read_secret
from cli.output import Output, tell
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

    from certs.identity import Identity, LoadedIdentity

TOKEN_VARIABLE = "MOORAGE_TOKEN"  # noqa: S105 - the name of a variable

token_argument = click.argument("token", required=False)
token_file_option = click.option("--token-file", type=FILE, help="File whose first line is the token; - is stdin.")
enrolment_timeout_option = click.option(
    "--timeout", type=Span(), default="10s", show_default=True, help="How long to try."
)


@dataclass(frozen=True)
class Enrolled:
    """An identity as it is in `folder` now, and the services' addresses that came with it, which are there too."""

    identity: "LoadedIdentity"
    addresses: dict[str, str]
    folder: Path

    def show(self, output: Output) -> None:
        """Print it: what it names, its life, its folder, and where the services are."""
        shown: dict[str, object] = {
            "spiffe_id": str(self.identity.spiffe_id),
            "serial_number": self.identity.serial,
            "not_before": self.identity.not_before.isoformat(),
            "not_after": self.identity.not_after.isoformat(),
            "folder": str(self.folder),
        }
        if output.is_structured:
            output.data({**shown, "addresses": self.addresses})
        elif output.is_name:
            output.lines([[str(self.identity.spiffe_id)]])
        else:
            output.lines((f"{name}:", str(value)) for name, value in {**shown, **self.addresses}.items())


def token_line(argument: str | None, file: Path | None) -> str:
    """The token: the argument, or the first line of standard input for `-`, else the file's, else $MOORAGE_TOKEN.

    Raises `click.UsageError` for none and for two; `Stopped` (BAD_INPUT) for a file that cannot be read.
    """
    if argument is not None and file is not None:
        raise click.UsageError("Give the token once: as TOKEN or with --token-file.", click.get_current_context())
    if argument == "-" or file is not None:
        return read_secret(file or Path("-"), "token")
    if argument is not None:
        tell(
            "warning: others on this machine can see the token among the arguments; - (stdin), --token-file or "
            f"${TOKEN_VARIABLE} keep it hidden"
        )
        return argument
    if token := os.environ.get(TOKEN_VARIABLE):
        return token
    raise click.UsageError(
        f"No token: give TOKEN, - for stdin, --token-file or ${TOKEN_VARIABLE}.", click.get_current_context()
    )


def enrolled(token: str, folder: Path, *, replace: bool, timeout: timedelta, another: str) -> Enrolled:
    """Enrol with the token into the folder. `another` says how to choose another folder, for those that are taken.

    Raises `TokenMalformed`, as `mesh.enrolment.enrol` does, and `Stopped`: CONFLICT where the folder holds an identity
    that is not to be replaced, HOME_NOT_WRITABLE.
    """
    from certs.token import OneTimeToken

    one_time_token = OneTimeToken.decode(token)

    async def run() -> Enrolled:
        from certs.identity import Identity
        from mesh.enrolment import enrol
        from mesh.telemetry import configure_logging

        identity = Identity(folder)
        if not replace:
            _check_is_free(identity, another)
        configure_logging("pair", "warning")
        try:
            addresses = keep_addresses(folder, await enrol(one_time_token, identity, timeout=timeout))
        except OSError as error:
            raise _not_writable(folder, error, another) from error
        return Enrolled(identity.load(), addresses, folder)

    return asyncio.run(run())


def keep_addresses(folder: Path, addresses: "PlaneAddresses") -> dict[str, str]:
    """Write where the services are beside the identity in the folder; returns what is there then."""
    from google.protobuf.json_format import MessageToDict

    from certs import files

    shown: dict[str, str] = MessageToDict(addresses, preserving_proto_field_name=True)
    files.replace(folder / ADDRESSES_FILE, f"{json.dumps(shown, indent=2)}\n".encode(), files.PUBLIC)
    return shown


def _check_is_free(identity: "Identity", another: str) -> None:
    from certs.identity import IdentityReason, IdentityRefused

    try:
        held = f"the identity of {identity.load().spiffe_id}"
    except IdentityRefused as refused:
        if refused.reason is IdentityReason.MISSING:
            return
        held = "an identity that cannot be read"
    except OSError as error:
        raise _not_writable(identity.folder, error, another) from error
    raise Stopped(
        Exit.CONFLICT,
        f"{identity.folder} holds {held} already: choose another {another}, or give --replace to replace it",
    )


def _not_writable(folder: Path, error: OSError, another: str) -> Stopped:
    return Stopped(
        Exit.HOME_NOT_WRITABLE,
        f"the identity cannot be written to {folder} ({error.strerror}): make it writable for this user, or choose "
        f"another {another}; the token still works",
    )

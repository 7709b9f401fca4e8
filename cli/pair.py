"""`moorage pair`: a one-time token becomes an identity on disk."""

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.connection import ADDRESSES_FILE
from cli.options import FILE, Span, output_option, read_secret
from cli.output import Output, tell
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from certs.identity import Identity, LoadedIdentity
    from certs.token import OneTimeToken

TOKEN_VARIABLE = "MOORAGE_TOKEN"  # noqa: S105 - the name of a variable


@click.command()
@click.argument("token", required=False)
@click.option("--token-file", type=FILE, help="File whose first line is the token; - is stdin.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the identity.")
@click.option("--replace", is_flag=True, help="Replace the identity that the folder holds.")
@click.option("--timeout", type=Span(), default="10s", show_default=True, help="How long to try.")
@output_option
def pair(token: str | None, token_file: Path | None, out: Path, replace: bool, timeout: timedelta, output: str) -> None:
    """Enrol with a one-time TOKEN and write the identity to a folder: tls.crt, tls.key, ca.crt and addresses.json.

    The token is the argument, or the first line of standard input for `-`, else that of --token-file, else
    $MOORAGE_TOKEN. Other users of this machine can see arguments. Whoever is interrupted runs the same command again.
    """
    from certs.token import OneTimeToken

    one_time_token = OneTimeToken.decode(_token(token, token_file))
    loaded, addresses = asyncio.run(_paired(one_time_token, out, replace, timeout))
    shown = {
        "spiffe_id": str(loaded.spiffe_id),
        "serial_number": loaded.serial,
        "not_before": loaded.not_before.isoformat(),
        "not_after": loaded.not_after.isoformat(),
        "folder": str(out),
        "addresses": addresses,
    }
    to_output = Output(output)
    if to_output.is_structured:
        to_output.data(shown)
    elif to_output.is_name:
        to_output.lines([[str(loaded.spiffe_id)]])
    else:
        values = {**shown, **addresses}.items()
        to_output.lines((f"{name}:", str(value)) for name, value in values if name != "addresses")


def _token(argument: str | None, file: Path | None) -> str:
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


async def _paired(
    token: "OneTimeToken", folder: Path, replace: bool, timeout: timedelta
) -> tuple["LoadedIdentity", dict[str, str]]:
    from google.protobuf.json_format import MessageToDict

    from certs import files
    from certs.identity import Identity
    from mesh.enrolment import enrol
    from mesh.telemetry import configure_logging

    identity = Identity(folder)
    if not replace:
        _check_is_free(identity)
    configure_logging("pair", "warning")
    try:
        addresses = MessageToDict(await enrol(token, identity, timeout=timeout), preserving_proto_field_name=True)
        files.replace(folder / ADDRESSES_FILE, f"{json.dumps(addresses, indent=2)}\n".encode(), files.PUBLIC)
    except OSError as error:
        raise _not_writable(folder, error) from error
    return identity.load(), addresses


def _check_is_free(identity: "Identity") -> None:
    from certs.identity import IdentityReason, IdentityRefused

    try:
        held = f"the identity of {identity.load().spiffe_id}"
    except IdentityRefused as refused:
        if refused.reason is IdentityReason.MISSING:
            return
        held = "an identity that cannot be read"
    except OSError as error:
        raise _not_writable(identity.folder, error) from error
    raise Stopped(
        Exit.CONFLICT, f"{identity.folder} holds {held} already: choose another --out, or give --replace to replace it"
    )


def _not_writable(folder: Path, error: OSError) -> Stopped:
    return Stopped(
        Exit.HOME_NOT_WRITABLE,
        f"the identity cannot be written to {folder} ({error.strerror}): make it writable for this user, or choose "
        "another --out; the token still works",
    )

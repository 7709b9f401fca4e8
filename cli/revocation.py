"""`moorage revocations`: the certificate revocation list (RFC 5280), and what revoking takes on the command line."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from cli.connection import Connection
from cli.exits import explained
from cli.options import FILE, Span, connected, gathered
from cli.output import tell
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.connector.v1.revocation_pb2 import GetRevocationListResponse, RevocationReason

REASONS = ("key-compromise", "affiliation-changed", "cessation-of-operation", "privilege-withdrawn")
"""Those of RFC 5280, section 5.3.1, that an administrator may give."""


class RevokeRequest(Protocol):
    """A request that revokes something."""

    reason: "RevocationReason.ValueType"
    note: str


@dataclass(frozen=True)
class Why:
    """Why something is revoked."""

    reason: str | None
    note: str | None

    def put(self, request: RevokeRequest) -> None:
        """Say so in `request`."""
        from moorage.connector.v1.revocation_pb2 import RevocationReason

        name = (self.reason or "unspecified").replace("-", "_").upper()
        request.reason = RevocationReason.Value(f"REVOCATION_REASON_{name}")
        request.note = self.note or ""


why_options = gathered(
    "why",
    Why,
    click.option("--reason", type=click.Choice(REASONS), help="Why: a reason of RFC 5280."),
    click.option("--note", help="What there is to say about it, up to 500 characters; no secrets."),
)


@click.group()
def revocations() -> None:
    """The certificate revocation list, for parties that are not in the plane."""


_out_option = click.option("--out", type=FILE, required=True, help="File for the list, in DER.")
_authority_option = click.option(
    "--authority",
    default="",
    help="SHA-256 of the issuing authority that it is of.  [default: the one that issues now]",
)


@revocations.command(short_help="Write the list to a file.")
@_out_option
@_authority_option
@connected
async def fetch(plane: Connection, out: Path, authority: str) -> None:
    """Write the certificate revocation list to a file, which is replaced at once, and show what it is of.

    For - the list itself goes to standard output. Whoever has a certificate of the plane may do so; what is in the list
    shows `openssl crl -inform DER -in FILE -noout -text`.
    """
    fetched = await _fetched(plane, authority)
    if str(out) == "-":
        sys.stdout.buffer.write(fetched.crl_der)
        return
    _write(out, fetched)
    fetched.ClearField("crl_der")
    plane.output.one(fetched)


@revocations.command(short_help="Keep the list in a file, as it changes.")
@_out_option
@_authority_option
@click.option("--every", type=Span(), default="60s", show_default=True, help="How often to ask.")
@connected
async def watch(plane: Connection, out: Path, authority: str, every: timedelta) -> None:
    """Write the list to a file, again each time that it has changed and before it ends, until Ctrl-C.

    Shows what each list that it writes is of, as JSON on a line. While the plane is away the file stays as it is.
    """
    from grpc import RpcError

    if str(out) == "-":
        raise click.UsageError("--out must be a file to watch.", click.get_current_context())
    last = -1
    while True:
        try:
            fetched = await _fetched(plane, authority)
        except (Stopped, RpcError) as error:
            code, said = explained(error)
            if code not in {Exit.UNAVAILABLE, Exit.DEADLINE}:
                raise
            tell(said)
        else:
            if fetched.crl_number != last:
                _write(out, fetched)
                fetched.ClearField("crl_der")
                plane.output.message(fetched)
            last = fetched.crl_number
        await asyncio.sleep(every.total_seconds())


async def _fetched(plane: Connection, authority: str) -> "GetRevocationListResponse":
    from moorage.connector.v1.revocation_pb2 import GetRevocationListRequest

    request = GetRevocationListRequest(authority_sha256=authority.lower().replace(":", ""))
    return await plane.connector.call(plane.connector.stub.GetRevocationList, request)


def _write(file: Path, fetched: "GetRevocationListResponse") -> None:
    from certs import files

    try:
        files.replace(file, fetched.crl_der, files.PUBLIC)
    except OSError as error:
        raise Stopped(Exit.BAD_INPUT, f"the list cannot be written to {file}: {error.strerror}") from error

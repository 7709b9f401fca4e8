"""`moorage certificate`: the ledger of certificates, and their revocation."""

from datetime import datetime

import click

from cli import references
from cli.connection import Connection
from cli.options import Instant, connected
from cli.output import tell
from cli.revocation import Why, why_options
from cli.search import page_size_option

COLUMNS = {
    "SERIAL_NUMBER": "serial_number",
    "STATE": "state",
    "SPIFFE_ID": "spiffe_id",
    "ISSUED": "issue_time",
    "ENDS": "not_after",
}
WIDE = {
    "ORIGIN": "origin",
    "FIRST_USED": "first_use_time",
    "REVOKED": "revoke_time",
    "REASON": "revocation_reason",
    "REVOKED_BY": "revoked_by",
    "REPLACES": "replaces_serial",
    "TOKEN_ID": "token_id",
}
STATES = ("planned", "active", "expired", "revoked", "superseded")


@click.group()
def certificate() -> None:
    """Certificates: every one that was issued, and what has become of it."""


_SERIAL_NUMBER = click.argument("serial_number")


@certificate.command("list", short_help="Show certificates, those last issued first.")
@click.option("--of", "party", help="Only those of this identity: a SPIFFE ID, or KIND/NAME such as runtime/edge-1.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only those in this state; may be repeated."
)
@click.option("--expire-after", type=Instant(), help="Only those that end then or later.")
@click.option("--expire-before", type=Instant(), help="Only those that end before.")
@page_size_option
@connected
async def list_(
    plane: Connection,
    party: str | None,
    states: tuple[str, ...],
    expire_after: datetime | None,
    expire_before: datetime | None,
    page_size: int | None,
) -> None:
    """Show certificates, those last issued first: all, or those that meet every option."""
    from moorage.connector.v1.certificate_pb2 import CertificateState, ListCertificatesRequest

    request = ListCertificatesRequest(
        spiffe_id=await references.optional(plane, references.spiffe_id, party),
        states=[CertificateState.Value(f"CERTIFICATE_STATE_{each.upper()}") for each in dict.fromkeys(states)],
        page_size=page_size or 0,
    )
    if expire_after is not None:
        request.expire_after.FromDatetime(expire_after)
    if expire_before is not None:
        request.expire_before.FromDatetime(expire_before)
    pages = plane.connector.pages(plane.connector.stub.ListCertificates, request)
    plane.output.many([each async for page in pages for each in page.certificates], "certificates", COLUMNS, WIDE)


@certificate.command(short_help="Show one certificate, or write it as PEM.")
@_SERIAL_NUMBER
@click.option("--pem", is_flag=True, help="The certificate itself, for openssl and its like.")
@connected
async def get(plane: Connection, serial_number: str, pem: bool) -> None:
    """Show one certificate, named by its serial number, as the ledger has it."""
    from moorage.connector.v1.certificate_pb2 import GetCertificateRequest

    request = GetCertificateRequest(serial_number=_serial(serial_number))
    found = (await plane.connector.call(plane.connector.stub.GetCertificate, request)).certificate
    if pem:
        click.echo(found.certificate_pem, nl=False)
        return
    if not plane.output.is_structured:
        found.ClearField("certificate_pem")
    plane.output.one(found)


@certificate.command(short_help="End one certificate before its time.")
@_SERIAL_NUMBER
@why_options
@connected
async def revoke(plane: Connection, serial_number: str, why: Why) -> None:
    """End one certificate before its time. Those that were renewed from it live on: see `moorage identity revoke`."""
    from moorage.connector.v1.certificate_pb2 import RevokeCertificateRequest

    request = RevokeCertificateRequest(serial_number=_serial(serial_number))
    why.put(request)
    revoked = (await plane.connector.call(plane.connector.stub.RevokeCertificate, request)).certificate
    if not plane.output.is_structured:
        revoked.ClearField("certificate_pem")
    plane.output.one(revoked)
    tell(f"certificate {revoked.serial_number} of {revoked.spiffe_id} counts no longer")


def _serial(text: str) -> str:
    """As the contract writes it, from how OpenSSL or a browser shows it."""
    digits = text.lower().replace(":", "").removeprefix("serial=")
    return digits.zfill(len(digits) + len(digits) % 2)

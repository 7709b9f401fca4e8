"""`moorage identity`: who has certificates, who is let in no longer, and who is banned."""

import click

from cli import references
from cli.connection import Connection
from cli.options import connected
from cli.output import tell
from cli.revocation import Why, why_options
from cli.search import page_size_option

COLUMNS = {
    "SPIFFE_ID": "spiffe_id",
    "STATE": "state",
    "CERTIFICATES": "active_certificates",
    "TOKENS": "active_tokens",
    "LAST_ISSUED": "last_issue_time",
}
WIDE = {"REVOKED": "revoke_time", "REASON": "revocation_reason", "REVOKED_BY": "revoked_by", "NOTE": "revocation_note"}
STATES = ("active", "inactive", "banned")


@click.group()
def identity() -> None:
    """Identities: who may be in the plane, and who may no longer.

    They are named by SPIFFE ID, or by what comes after the trust domain: admin/ada, viewer/vera, service/director,
    application/NAME or runtime/NAME, where for NAME its id will do, too.
    """


_IDENTITY = click.argument("party", metavar="IDENTITY")


@identity.command("list", short_help="Show every identity.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only those in this state; may be repeated."
)
@page_size_option
@connected
async def list_(plane: Connection, states: tuple[str, ...], page_size: int | None) -> None:
    """Show every identity that has or had a token or a certificate, or is banned."""
    from moorage.connector.v1.identity_pb2 import IdentityState, ListIdentitiesRequest

    request = ListIdentitiesRequest(
        states=[IdentityState.Value(f"IDENTITY_STATE_{each.upper()}") for each in dict.fromkeys(states)],
        page_size=page_size or 0,
    )
    pages = plane.connector.pages(plane.connector.stub.ListIdentities, request)
    plane.output.many([each async for page in pages for each in page.identities], "identities", COLUMNS, WIDE)


@identity.command(short_help="Show one identity.")
@_IDENTITY
@connected
async def get(plane: Connection, party: str) -> None:
    """Show one identity: whether it is banned, and what it has."""
    from moorage.connector.v1.identity_pb2 import GetIdentityRequest

    request = GetIdentityRequest(spiffe_id=await references.spiffe_id(plane, party))
    response = await plane.connector.call(plane.connector.stub.GetIdentity, request)
    plane.output.one(response.identity)


@identity.command(short_help="End all that an identity has: --evict or --ban.")
@_IDENTITY
@click.option("--evict", is_flag=True, help="With a new token it may pair again.")
@click.option("--ban", is_flag=True, help="Nothing is issued to it until it is restored.")
@why_options
@connected
async def revoke(plane: Connection, party: str, evict: bool, ban: bool, why: Why) -> None:
    """End every certificate and unused token of an identity, within a second on every service."""
    from moorage.connector.v1.identity_pb2 import RevocationAction, RevokeIdentityRequest

    if evict is ban:
        raise click.UsageError("Give either --evict or --ban.", click.get_current_context())
    action = RevocationAction.REVOCATION_ACTION_BAN if ban else RevocationAction.REVOCATION_ACTION_EVICT
    request = RevokeIdentityRequest(spiffe_id=await references.spiffe_id(plane, party), action=action)
    why.put(request)
    response = await plane.connector.call(plane.connector.stub.RevokeIdentity, request)
    plane.output.one(response.identity)
    tell(f"revoked: certificates {response.revoked_certificates}, unused tokens {response.revoked_tokens}")


@identity.command()
@_IDENTITY
@click.option("--note", help="What there is to say about it, up to 500 characters; no secrets.")
@connected
async def restore(plane: Connection, party: str, note: str | None) -> None:
    """Lift the ban of an identity. What was revoked stays revoked: it needs a new token."""
    from moorage.connector.v1.identity_pb2 import RestoreIdentityRequest

    request = RestoreIdentityRequest(spiffe_id=await references.spiffe_id(plane, party), note=note or "")
    response = await plane.connector.call(plane.connector.stub.RestoreIdentity, request)
    plane.output.one(response.identity)

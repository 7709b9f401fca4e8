"""`moorage token`: one-time tokens, which newcomers pair with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cli import references
from cli.connection import Connection
from cli.options import Span, connected, gathered
from cli.output import Output, as_dict, tell
from cli.search import page_size_option
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.connector.v1.token_pb2 import IssueTokenRequest, IssueTokenResponse

COLUMNS = {
    "TOKEN_ID": "token_id",
    "STATE": "state",
    "SPIFFE_ID": "spiffe_id",
    "EXPIRES": "expire_time",
}
WIDE = {
    "ISSUED": "issue_time",
    "ISSUER": "issuer",
    "USED": "use_time",
    "SERIAL_NUMBER": "serial_number",
    "DELIVERY": "delivery.state",
}
STATES = ("active", "used", "expired", "revoked", "superseded")
SERVICES = ("director", "connector", "provisioner")

DELIVERY_TIMEOUT = 40.0
"""Seconds that issuing a token may take at least where it is to be delivered: a webhook has 25 of them."""

_PREFIX = "moor_"


@click.group()
def token() -> None:
    """One-time tokens: what a newcomer pairs with."""


@dataclass(frozen=True)
class PartyOptions:
    """Whom a token is for: one of these is set."""

    application: str | None
    runtime: str | None
    admin: str | None
    viewer: str | None
    service: str | None

    async def put(self, plane: Connection, request: "IssueTokenRequest") -> None:
        """Ask for it in `request`; raises `click.UsageError` unless one is named."""
        named = {kind: name for kind, name in vars(self).items() if name is not None}
        if len(named) != 1:
            raise click.UsageError(
                "Give one of --application, --runtime, --admin, --viewer and --service.", click.get_current_context()
            )
        [(kind, name)] = named.items()
        if kind == "application":
            request.application_id = await references.application_id(plane, name)
        elif kind == "runtime":
            request.runtime_id = await references.runtime_id(plane, name)
        else:
            setattr(request, kind, name)


_party_options = gathered(
    "party",
    PartyOptions,
    click.option("--application", help="Id or name of the Application that it is for."),
    click.option("--runtime", help="Id or name of the Runtime that it is for."),
    click.option("--admin", metavar="NAME", help="Name of the administrator that it is for."),
    click.option("--viewer", metavar="NAME", help="Name of the administrator, who may only read, that it is for."),
    click.option("--service", type=click.Choice(SERVICES), help="The plane's own service that it is for."),
)


@token.command(short_help="Issue a token for an Application, a Runtime, an administrator or a service.")
@_party_options
@click.option("--dns", "dns_names", multiple=True, help="DNS name under which the service is called; repeatable.")
@click.option("--ip", "ip_addresses", multiple=True, help="IP address under which it is called; repeatable.")
@click.option("--ttl", type=Span(), help="How long it may be used, 1s to 24h.  [default: 1h, unless set otherwise]")
@click.option("--deliver", is_flag=True, help="Hand it to the Application's pairing webhook, and show it nowhere.")
@connected
async def issue(
    plane: Connection,
    party: PartyOptions,
    dns_names: Sequence[str],
    ip_addresses: Sequence[str],
    ttl: timedelta | None,
    deliver: bool,
) -> None:
    """Issue a token for one party, and print it, this once.

    Standard output has the token alone or, with -o json, the token with its id, its end and the identity that it gives.
    Unused tokens of the same party work no more. With --deliver there is none to print, and the command waits for the
    webhook, whatever --timeout says.
    """
    from moorage.connector.v1.token_pb2 import IssueTokenRequest

    request = IssueTokenRequest(dns_names=dns_names, ip_addresses=ip_addresses, deliver=deliver)
    await party.put(plane, request)
    if ttl is not None:
        request.ttl.FromTimedelta(ttl)
    peer = plane.connector
    if deliver:
        peer.timeout = max(peer.timeout, DELIVERY_TIMEOUT)
    response = await peer.call(peer.stub.IssueToken, request)
    _show_issued(plane.output, response)
    if response.HasField("delivery"):
        _tell_of_delivery(response)
    else:
        tell(f"{_what_it_gives(response)}; it is shown this once")


@token.command("list", short_help="Show tokens, those issued last first.")
@click.option("--spiffe-id", help="Only those of this identity.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only those in it; repeatable.")
@page_size_option
@connected
async def list_(plane: Connection, spiffe_id: str | None, states: Sequence[str], page_size: int | None) -> None:
    """Show tokens and what became of them, those issued last first. The tokens themselves are kept nowhere."""
    from moorage.connector.v1.token_pb2 import ListTokensRequest, TokenState

    request = ListTokensRequest(
        spiffe_id=spiffe_id or "",
        states=[TokenState.Value(f"TOKEN_STATE_{state.upper()}") for state in dict.fromkeys(states)],
        page_size=page_size or 0,
    )
    pages = plane.connector.pages(plane.connector.stub.ListTokens, request)
    plane.output.many([each async for page in pages for each in page.tokens], "tokens", COLUMNS, WIDE)


@token.command()
@click.argument("token_id")
@connected
async def get(plane: Connection, token_id: str) -> None:
    """Show a token and what became of it. Its id is what `list` shows, not the line that pairs."""
    from moorage.connector.v1.token_pb2 import GetTokenRequest

    request = GetTokenRequest(token_id=_id(token_id))
    response = await plane.connector.call(plane.connector.stub.GetToken, request)
    plane.output.one(response.token)


@token.command()
@click.argument("token_id")
@connected
async def revoke(plane: Connection, token_id: str) -> None:
    """End a token before it is used. Of one that was used, revoke the certificate that it earned."""
    from moorage.connector.v1.token_pb2 import RevokeTokenRequest

    request = RevokeTokenRequest(token_id=_id(token_id))
    response = await plane.connector.call(plane.connector.stub.RevokeToken, request)
    plane.output.one(response.token)


def _id(reference: str) -> str:
    """What was given, unless it is a token itself: that is nobody else's, and not repeated."""
    if reference.startswith(_PREFIX):
        raise click.UsageError(
            "TOKEN_ID is the id that `moorage token list` shows, not the token itself.", click.get_current_context()
        )
    return reference


def _show_issued(output: Output, response: "IssueTokenResponse") -> None:
    if output.is_structured:
        output.data({**as_dict(response), **({"token": response.token} if response.token else {})})
    elif response.token:
        click.echo(response.token)
    elif output.is_name:
        output.lines([[response.token_id]])
    else:
        output.one(response)


def _tell_of_delivery(response: "IssueTokenResponse") -> None:
    """Say what came of it; raises `Stopped` (UNAVAILABLE) where the Application does not have it."""
    from moorage.connector.v1.token_pb2 import TokenDeliveryState

    if response.delivery.state != TokenDeliveryState.TOKEN_DELIVERY_STATE_DELIVERED:
        raise Stopped(
            Exit.UNAVAILABLE,
            f"the pairing webhook did not take token {response.token_id} ({response.delivery.failure}), which is "
            "revoked: mend the webhook and issue another",
        )
    tell(f"the Application has it: {_what_it_gives(response)}")


def _what_it_gives(response: "IssueTokenResponse") -> str:
    return f"token {response.token_id} gives {response.spiffe_id} once, until {response.expire_time.ToJsonString()}"

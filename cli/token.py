"""`moorage token`: one-time tokens, which newcomers pair with."""

from datetime import timedelta

import click

from cli import references
from cli.connection import Connection
from cli.options import Span, connected
from cli.output import as_dict, tell


@click.group()
def token() -> None:
    """One-time tokens: what a newcomer pairs with."""


@token.command(short_help="Issue a token for an Application or a Runtime.")
@click.option("--application", help="Id or name of the Application that it is for.")
@click.option("--runtime", help="Id or name of the Runtime that it is for.")
@click.option("--ttl", type=Span(), help="How long it may be used, 1s to 24h.  [default: 1h]")
@connected
async def issue(plane: Connection, application: str | None, runtime: str | None, ttl: timedelta | None) -> None:
    """Issue a token for one Application or one Runtime, and print it, this once.

    Standard output has the token alone or, with -o json, the token with its id, its end and the identity that it gives.
    """
    from moorage.connector.v1.token_pb2 import IssueTokenRequest

    if (application is None) == (runtime is None):
        raise click.UsageError("Give either --application or --runtime.", click.get_current_context())
    request = IssueTokenRequest()
    if application is not None:
        request.application_id = await references.application_id(plane, application)
    elif runtime is not None:
        request.runtime_id = await references.runtime_id(plane, runtime)
    if ttl is not None:
        request.ttl.FromTimedelta(ttl)
    response = await plane.connector.call(plane.connector.stub.IssueToken, request)
    if plane.output.is_structured:
        plane.output.data({**as_dict(response), "token": response.token})
    else:
        click.echo(response.token)
    tell(
        f"token {response.token_id} gives {response.spiffe_id} once, until {response.expire_time.ToJsonString()}; "
        "it is shown this once"
    )

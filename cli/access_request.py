"""`moorage access-request`: a Runtime asks for a credential of its own, and the Application answers."""

import click

from cli import references
from cli.connection import Connection
from cli.options import connected, new_request_id, request_id_option
from cli.output import tell
from cli.search import page_size_option
from cli.secret import SecretOptions, secret_options
from cli.target import TargetOptions, target_options

COLUMNS = {
    "ACCESS_REQUEST_ID": "access_request_id",
    "STATE": "state",
    "APPLICATION_ID": "application_id",
    "RUNTIME_ID": "runtime_id",
    "PURPOSE": "purpose",
}
WIDE = {
    "API_ID": "api_id",
    "BUNDLE_ID": "bundle_id",
    "CREATED": "create_time",
    "ANSWERED": "answer_time",
    "REFUSAL": "refusal",
}


@click.group("access-request")
def access_request() -> None:
    """Access requests: Runtimes ask for credentials of their own."""


_ACCESS_REQUEST_ID = click.argument("access_request_id")
_runtime_option = click.option("--runtime", help="Id or name of the Runtime that asks.  [default: the one that calls]")
_asked_option = click.option(
    "--application", help="Id or name of the Application that is asked.  [default: the one that calls]"
)


@access_request.command(short_help="Ask an Application for a credential.")
@click.option("--application", required=True, help="Id or name of the Application that is asked.")
@target_options
@_runtime_option
@click.option("--purpose", help="What it is wanted for, up to 500 characters.")
@request_id_option
@connected
async def create(
    plane: Connection,
    application: str,
    target: TargetOptions,
    runtime: str | None,
    purpose: str | None,
    request_id: str | None,
) -> None:
    """Ask an Application that serves the Runtime for a credential of its own. What is asked already is shown."""
    from moorage.director.v1.access_request_pb2 import AccessRequest, CreateAccessRequestRequest

    runtime_id = await references.own_runtime_id(plane, runtime)
    application_id = await references.application_id(plane, application)
    new = AccessRequest(
        runtime_id=runtime_id,
        application_id=application_id,
        purpose=purpose or "",
        **await target.id(plane, application_id),
    )
    request = CreateAccessRequestRequest(access_request=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateAccessRequest, request)
    plane.output.one(response.access_request)


@access_request.command("list", short_help="Show requests, oldest first.")
@click.option("--application", help="Only those that ask this Application.")
@click.option("--runtime", help="Only those of this Runtime.")
@click.option("--state", type=click.Choice(["pending", "supplied", "refused"]), help="Only those in this state.")
@page_size_option
@connected
async def list_(
    plane: Connection, application: str | None, runtime: str | None, state: str | None, page_size: int | None
) -> None:
    """Show requests, oldest first: all, or those of the Application or Runtime that calls."""
    from moorage.director.v1.access_request_pb2 import AccessRequestState, ListAccessRequestsRequest

    request = ListAccessRequestsRequest(
        application_id=await references.application_to_list(plane, application),
        runtime_id=await references.runtime_to_list(plane, runtime),
        state=AccessRequestState.Value(f"ACCESS_REQUEST_STATE_{(state or 'unspecified').upper()}"),
        page_size=page_size or 0,
    )
    pages = plane.director.pages(plane.director.stub.ListAccessRequests, request)
    found = [each async for page in pages for each in page.access_requests]
    plane.output.many(found, "access_requests", COLUMNS, WIDE)


@access_request.command(short_help="Supply the credential that was asked for.")
@_ACCESS_REQUEST_ID
@_asked_option
@secret_options
@connected
async def supply(plane: Connection, access_request_id: str, application: str | None, secret: SecretOptions) -> None:
    """Supply the credential that was asked for, which becomes the Runtime's own.

    Its secret part comes from --from-file, from standard input, or is asked for.
    """
    from moorage.director.v1.access_request_pb2 import AnswerAccessRequestRequest

    request = AnswerAccessRequestRequest(
        application_id=await references.own_application_id(plane, application), access_request_id=access_request_id
    )
    secret.put(request.supplied)
    response = await plane.director.call(plane.director.stub.AnswerAccessRequest, request)
    plane.output.one(response.access_request)


@access_request.command()
@_ACCESS_REQUEST_ID
@_asked_option
@click.option("--reason", required=True, help="Why there is none to be had, up to 500 characters.")
@connected
async def refuse(plane: Connection, access_request_id: str, application: str | None, reason: str) -> None:
    """Refuse what was asked for."""
    from moorage.director.v1.access_request_pb2 import AnswerAccessRequestRequest

    request = AnswerAccessRequestRequest(
        application_id=await references.own_application_id(plane, application),
        access_request_id=access_request_id,
        refusal=reason,
    )
    response = await plane.director.call(plane.director.stub.AnswerAccessRequest, request)
    plane.output.one(response.access_request)


@access_request.command(short_help="Withdraw a request.")
@_ACCESS_REQUEST_ID
@_runtime_option
@connected
async def delete(plane: Connection, access_request_id: str, runtime: str | None) -> None:
    """Withdraw a request, with the credential that was supplied for it."""
    from moorage.director.v1.access_request_pb2 import DeleteAccessRequestRequest

    request = DeleteAccessRequestRequest(
        runtime_id=await references.own_runtime_id(plane, runtime), access_request_id=access_request_id
    )
    await plane.director.call(plane.director.stub.DeleteAccessRequest, request)
    tell(f"access-request {access_request_id} is deleted")

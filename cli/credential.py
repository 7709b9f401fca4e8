"""`moorage credential`: what Runtimes call the APIs of an Application with. Its secrets go in and never come out."""

import click

from cli import references
from cli.connection import Connection
from cli.options import application_option, connected
from cli.output import tell
from cli.search import page_size_option
from cli.secret import SecretOptions, secret_options
from cli.target import TargetOptions, target_options

COLUMNS = {
    "API_ID": "api_id",
    "BUNDLE_ID": "bundle_id",
    "RUNTIME_ID": "runtime_id",
    "TYPE": "type",
    "UPDATED": "update_time",
}
WIDE = {"APPLICATION_ID": "application_id", "REVISION": "revision"}


@click.group()
def credential() -> None:
    """Credentials: what Runtimes call APIs with. They go in and are never shown."""


_runtime_option = click.option(
    "--runtime", help="Id or name of the Runtime that it is for alone.  [default: every Runtime shares it]"
)


@credential.command("set", short_help="Set the credential of an API or a bundle.")
@application_option
@target_options
@_runtime_option
@secret_options
@connected
async def set_(
    plane: Connection, application: str | None, target: TargetOptions, runtime: str | None, secret: SecretOptions
) -> None:
    """Set the credential of an API or a bundle, for every Runtime that the Application serves or for one alone.

    Its secret part comes from --from-file, from standard input, or is asked for. What was set before is replaced whole.
    """
    from moorage.director.v1.credential_pb2 import Credential, UpdateCredentialRequest

    application_id = await references.own_application_id(plane, application)
    new = Credential(
        application_id=application_id,
        runtime_id=await references.optional(plane, references.runtime_id, runtime),
        **await target.id(plane, application_id),
    )
    secret.put(new)
    response = await plane.director.call(plane.director.stub.UpdateCredential, UpdateCredentialRequest(credential=new))
    plane.output.one(response.credential)


@credential.command("list", short_help="Show which credentials an Application has.")
@application_option
@page_size_option
@connected
async def list_(plane: Connection, application: str | None, page_size: int | None) -> None:
    """Show which credentials an Application has, shared ones first, without their secrets."""
    from moorage.director.v1.credential_pb2 import ListCredentialsRequest

    application_id = await references.own_application_id(plane, application)
    request = ListCredentialsRequest(application_id=application_id, page_size=page_size or 0)
    pages = plane.director.pages(plane.director.stub.ListCredentials, request)
    plane.output.many([each async for page in pages for each in page.credentials], "credentials", COLUMNS, WIDE)


@credential.command(short_help="Remove the credential of an API or a bundle.")
@application_option
@target_options
@_runtime_option
@connected
async def delete(plane: Connection, application: str | None, target: TargetOptions, runtime: str | None) -> None:
    """Remove the shared credential of an API or a bundle or, with --runtime, that of one Runtime."""
    from moorage.director.v1.credential_pb2 import DeleteCredentialRequest

    application_id = await references.own_application_id(plane, application)
    request = DeleteCredentialRequest(
        application_id=application_id,
        runtime_id=await references.optional(plane, references.runtime_id, runtime),
        **await target.id(plane, application_id),
    )
    await plane.director.call(plane.director.stub.DeleteCredential, request)
    tell(f"the credential of {target} is deleted")

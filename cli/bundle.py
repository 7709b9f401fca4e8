"""`moorage bundle`: APIs and Event APIs of an Application that share credentials."""

import click

from cli import references
from cli.connection import Connection
from cli.options import (
    application_option,
    changed,
    connected,
    description_option,
    etag_option,
    force_option,
    new_request_id,
    request_id_option,
)
from cli.output import tell
from cli.search import Search, search_options

COLUMNS = {
    "NAME": "name",
    "BUNDLE_ID": "bundle_id",
    "APPLICATION_ID": "application_id",
    "CREDENTIAL": "credential_type",
    "DESCRIPTION": "description",
}
WIDE = {"UPDATED": "update_time", "REVISION": "revision"}


@click.group()
def bundle() -> None:
    """Bundles: APIs and Event APIs of an Application that share credentials.

    `--bundle` of api, event-api and document puts one in.
    """


_BUNDLE = click.argument("bundle")


@bundle.command()
@click.argument("name")
@application_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection, name: str, application: str | None, description: str | None, request_id: str | None
) -> None:
    """Create a bundle. NAME is a DNS label, unique among the Application's bundles."""
    from moorage.director.v1.bundle_pb2 import Bundle, CreateBundleRequest

    application_id = await references.own_application_id(plane, application)
    new = Bundle(application_id=application_id, name=name, description=description or "")
    request = CreateBundleRequest(bundle=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateBundle, request)
    plane.output.one(response.bundle)


@bundle.command()
@_BUNDLE
@application_option
@connected
async def get(plane: Connection, bundle: str, application: str | None) -> None:
    """Show one bundle, named by id or name."""
    from moorage.director.v1.bundle_pb2 import GetBundleRequest

    application_id = await references.own_application_id(plane, application)
    bundle_id = await references.bundle_id(plane, application_id, bundle)
    request = GetBundleRequest(application_id=application_id, bundle_id=bundle_id)
    response = await plane.director.call(plane.director.stub.GetBundle, request)
    plane.output.one(response.bundle)


@bundle.command("list")
@click.option("--application", help="Id or name of an Application.  [default: all that the caller may see]")
@search_options
@connected
async def list_(plane: Connection, application: str | None, search: Search) -> None:
    """Show the bundles of one Application, or of all."""
    from moorage.director.v1.bundle_pb2 import ListBundlesRequest

    request = ListBundlesRequest(application_id=await references.application_to_list(plane, application))
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListBundles, request)
    plane.output.many([each async for page in pages for each in page.bundles], "bundles", COLUMNS, WIDE)


@bundle.command()
@_BUNDLE
@application_option
@click.option("--name", help="A new name.")
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    bundle: str,
    application: str | None,
    name: str | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.bundle_pb2 import Bundle, UpdateBundleRequest

    mask = FieldMask(paths=changed(name=name, description=description))
    application_id = await references.own_application_id(plane, application)
    new = Bundle(
        application_id=application_id,
        bundle_id=await references.bundle_id(plane, application_id, bundle),
        name=name or "",
        description=description or "",
        etag=etag or "",
    )
    request = UpdateBundleRequest(bundle=new, update_mask=mask)
    response = await plane.director.call(plane.director.stub.UpdateBundle, request)
    plane.output.one(response.bundle)


@bundle.command(short_help="Remove a bundle with its credentials.")
@_BUNDLE
@application_option
@etag_option
@force_option
@connected
async def delete(plane: Connection, bundle: str, application: str | None, etag: str | None, force: bool) -> None:
    """Remove a bundle with its credentials. One that has anything in it takes --force; what is in it stays."""
    from moorage.director.v1.bundle_pb2 import DeleteBundleRequest

    application_id = await references.own_application_id(plane, application)
    bundle_id = await references.bundle_id(plane, application_id, bundle)
    request = DeleteBundleRequest(application_id=application_id, bundle_id=bundle_id, etag=etag or "", force=force)
    await plane.director.call(plane.director.stub.DeleteBundle, request)
    tell(f"bundle {bundle} is deleted")

"""`moorage api`: the APIs that Applications offer."""

from pathlib import Path

import click

from cli import references
from cli.connection import Connection
from cli.options import (
    application_option,
    bundle_option,
    changed,
    connected,
    description_option,
    etag_option,
    new_request_id,
    request_id_option,
)
from cli.output import tell
from cli.search import Search, search_options
from cli.specification import (
    SpecificationOptions,
    download,
    format_option,
    no_spec_option,
    out_option,
    specification_options,
    warn_of,
)
from cli.version import VersionOptions, version_group_option, version_options

COLUMNS = {
    "NAME": "name",
    "API_ID": "api_id",
    "APPLICATION_ID": "application_id",
    "SPEC": "specification.state",
    "TARGET_URL": "target_url",
    "DESCRIPTION": "description",
}
WIDE = {
    "VERSION": "version.value",
    "DEPRECATED": "version.deprecated",
    "REMOVAL": "version.removal_time",
    "VERSION_GROUP": "version_group",
    "BUNDLE_ID": "bundle_id",
    "CREDENTIAL": "credential_type",
    "FORMAT": "specification.format",
    "FETCH": "specification.fetch.state",
}


@click.group()
def api() -> None:
    """APIs: what Applications offer to call."""


_API = click.argument("api")
_FORMATS = "OpenAPI, OData EDMX or a gRPC descriptor set"
_TARGET_URL = "Where the API is served: an absolute http or https URL."


@api.command()
@click.argument("name")
@application_option
@click.option("--target-url", required=True, help=_TARGET_URL)
@specification_options(_FORMATS, format_option)
@version_options
@version_group_option
@bundle_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection,
    name: str,
    application: str | None,
    target_url: str,
    spec: SpecificationOptions,
    version: VersionOptions,
    version_group: str | None,
    bundle: str | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Register an API of an Application. NAME is a DNS label, unique among the Application's APIs."""
    from moorage.director.v1.api_pb2 import Api, CreateApiRequest

    application_id = await references.own_application_id(plane, application)
    new = Api(
        application_id=application_id,
        name=name,
        description=description or "",
        target_url=target_url,
        specification=spec.read(),
        version=version.new(),
        version_group=version_group or "",
        bundle_id=await references.optional_bundle_id(plane, application_id, bundle),
    )
    request = CreateApiRequest(api=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateApi, request)
    plane.output.one(response.api)
    warn_of(response.api.specification)


@api.command(short_help="Show one API, named by id or name.")
@_API
@application_option
@connected
async def get(plane: Connection, api: str, application: str | None) -> None:
    """Show one API, named by id or name; with -o json the specification's content too."""
    from moorage.director.v1.api_pb2 import GetApiRequest

    application_id = await references.own_application_id(plane, application)
    request = GetApiRequest(application_id=application_id, api_id=await references.api_id(plane, application_id, api))
    response = await plane.director.call(plane.director.stub.GetApi, request)
    plane.output.one(response.api)


@api.command("list")
@click.option("--application", help="Id or name of an Application.  [default: all that the caller may see]")
@search_options
@connected
async def list_(plane: Connection, application: str | None, search: Search) -> None:
    """Show the APIs of one Application, or of all."""
    from moorage.director.v1.api_pb2 import ListApisRequest

    request = ListApisRequest(application_id=await references.application_to_list(plane, application))
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListApis, request)
    plane.output.many([each async for page in pages for each in page.apis], "apis", COLUMNS, WIDE)


@api.command()
@_API
@application_option
@click.option("--name", help="A new name.")
@click.option("--target-url", help=_TARGET_URL)
@specification_options(_FORMATS, format_option, no_spec_option)
@version_options
@version_group_option
@bundle_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    api: str,
    application: str | None,
    name: str | None,
    target_url: str | None,
    spec: SpecificationOptions,
    version: VersionOptions,
    version_group: str | None,
    bundle: str | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.api_pb2 import Api, GetApiRequest, UpdateApiRequest

    mask = changed(
        name=name,
        target_url=target_url,
        specification=spec.given,
        version=version.given,
        version_group=version_group,
        bundle_id=bundle,
        description=description,
    )
    application_id = await references.own_application_id(plane, application)
    new = Api(
        application_id=application_id,
        api_id=await references.api_id(plane, application_id, api),
        name=name or "",
        description=description or "",
        target_url=target_url or "",
        specification=spec.read(),
        version_group=version_group or "",
        bundle_id=await references.optional_bundle_id(plane, application_id, bundle),
        etag=etag or "",
    )
    if version.given:
        current = GetApiRequest(application_id=application_id, api_id=new.api_id)
        read = (await plane.director.call(plane.director.stub.GetApi, current)).api
        new.version.CopyFrom(version.upon(read.version))
        new.etag = etag or read.etag
    request = UpdateApiRequest(api=new, update_mask=FieldMask(paths=mask))
    response = await plane.director.call(plane.director.stub.UpdateApi, request)
    plane.output.one(response.api)
    warn_of(response.api.specification)


@api.command(short_help="Write out an API's specification.")
@_API
@application_option
@out_option
@connected
async def spec(plane: Connection, api: str, application: str | None, out: Path | None) -> None:
    """Write the document that describes an API to standard output, or to --out, as the Director has it."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.api_pb2 import GetApiRequest

    application_id = await references.own_application_id(plane, application)
    api_id = await references.api_id(plane, application_id, api)
    mask = FieldMask(paths=["specification"])
    request = GetApiRequest(application_id=application_id, api_id=api_id, read_mask=mask)
    response = await plane.director.call(plane.director.stub.GetApi, request)
    await download(plane, application_id, response.api.specification, f"api {api}", out)


@api.command()
@_API
@application_option
@etag_option
@connected
async def delete(plane: Connection, api: str, application: str | None, etag: str | None) -> None:
    """Remove an API."""
    from moorage.director.v1.api_pb2 import DeleteApiRequest

    application_id = await references.own_application_id(plane, application)
    api_id = await references.api_id(plane, application_id, api)
    request = DeleteApiRequest(application_id=application_id, api_id=api_id, etag=etag or "")
    await plane.director.call(plane.director.stub.DeleteApi, request)
    tell(f"api {api} is deleted")

"""`moorage api`: the APIs that Applications offer."""

from pathlib import Path

import click

from cli import references
from cli.connection import Connection
from cli.options import (
    application_option,
    changed,
    connected,
    description_option,
    etag_option,
    new_request_id,
    request_id_option,
)
from cli.output import tell
from cli.specification import no_spec_option, read_specification, replaced, spec_option, warn_of

COLUMNS = {
    "NAME": "name",
    "API_ID": "api_id",
    "APPLICATION_ID": "application_id",
    "SPEC": "specification.state",
    "TARGET_URL": "target_url",
    "DESCRIPTION": "description",
}


@click.group()
def api() -> None:
    """APIs: what Applications offer to call."""


_API = click.argument("api")
_spec_option = spec_option("OpenAPI 2, 3.0 or 3.1")


@api.command()
@click.argument("name")
@application_option
@click.option("--target-url", required=True, help="Where the API is served: an absolute http or https URL.")
@_spec_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection,
    name: str,
    application: str | None,
    target_url: str,
    spec: Path | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Register an API of an Application. NAME is a DNS label, unique among the Application's APIs."""
    from moorage.director.v1.api_pb2 import Api, CreateApiRequest
    from moorage.director.v1.specification_pb2 import SPECIFICATION_FORMAT_OPENAPI

    new = Api(
        application_id=await references.own_application_id(plane, application),
        name=name,
        description=description or "",
        target_url=target_url,
        specification=read_specification(spec, SPECIFICATION_FORMAT_OPENAPI),
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
@connected
async def list_(plane: Connection, application: str | None) -> None:
    """Show the APIs of one Application, or of all."""
    from moorage.director.v1.api_pb2 import ListApisRequest

    request = ListApisRequest(application_id=await references.application_to_list(plane, application))
    pages = plane.director.pages(plane.director.stub.ListApis, request)
    plane.output.many([each async for page in pages for each in page.apis], "apis", COLUMNS)


@api.command()
@_API
@application_option
@click.option("--name", help="A new name.")
@click.option("--target-url", help="Where the API is served: an absolute http or https URL.")
@_spec_option
@no_spec_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    api: str,
    application: str | None,
    name: str | None,
    target_url: str | None,
    spec: Path | None,
    no_spec: bool,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.api_pb2 import Api, UpdateApiRequest
    from moorage.director.v1.specification_pb2 import SPECIFICATION_FORMAT_OPENAPI

    paths = changed(name=name, target_url=target_url, specification=replaced(spec, no_spec), description=description)
    application_id = await references.own_application_id(plane, application)
    new = Api(
        application_id=application_id,
        api_id=await references.api_id(plane, application_id, api),
        name=name or "",
        description=description or "",
        target_url=target_url or "",
        specification=read_specification(spec, SPECIFICATION_FORMAT_OPENAPI),
        etag=etag or "",
    )
    request = UpdateApiRequest(api=new, update_mask=FieldMask(paths=paths))
    response = await plane.director.call(plane.director.stub.UpdateApi, request)
    plane.output.one(response.api)
    warn_of(response.api.specification)


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

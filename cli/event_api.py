"""`moorage event-api`: the events that Applications send."""

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
    "EVENT_API_ID": "event_api_id",
    "APPLICATION_ID": "application_id",
    "SPEC": "specification.state",
    "DESCRIPTION": "description",
}


@click.group()
def event_api() -> None:
    """Event APIs: the events that Applications send."""


_EVENT_API = click.argument("event_api", metavar="EVENT_API")
_spec_option = spec_option("AsyncAPI 2 or 3")


@event_api.command()
@click.argument("name")
@application_option
@_spec_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection,
    name: str,
    application: str | None,
    spec: Path | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Register an Event API of an Application. NAME is a DNS label, unique among its Event APIs."""
    from moorage.director.v1.event_api_pb2 import CreateEventApiRequest, EventApi
    from moorage.director.v1.specification_pb2 import SPECIFICATION_FORMAT_ASYNCAPI

    new = EventApi(
        application_id=await references.own_application_id(plane, application),
        name=name,
        description=description or "",
        specification=read_specification(spec, SPECIFICATION_FORMAT_ASYNCAPI),
    )
    request = CreateEventApiRequest(event_api=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateEventApi, request)
    plane.output.one(response.event_api)
    warn_of(response.event_api.specification)


@event_api.command(short_help="Show one Event API, named by id or name.")
@_EVENT_API
@application_option
@connected
async def get(plane: Connection, event_api: str, application: str | None) -> None:
    """Show one Event API, named by id or name; with -o json the specification's content too."""
    from moorage.director.v1.event_api_pb2 import GetEventApiRequest

    application_id = await references.own_application_id(plane, application)
    request = GetEventApiRequest(
        application_id=application_id, event_api_id=await references.event_api_id(plane, application_id, event_api)
    )
    response = await plane.director.call(plane.director.stub.GetEventApi, request)
    plane.output.one(response.event_api)


@event_api.command("list")
@click.option("--application", help="Id or name of an Application.  [default: all that the caller may see]")
@connected
async def list_(plane: Connection, application: str | None) -> None:
    """Show the Event APIs of one Application, or of all."""
    from moorage.director.v1.event_api_pb2 import ListEventApisRequest

    request = ListEventApisRequest(application_id=await references.application_to_list(plane, application))
    pages = plane.director.pages(plane.director.stub.ListEventApis, request)
    plane.output.many([each async for page in pages for each in page.event_apis], "event_apis", COLUMNS)


@event_api.command()
@_EVENT_API
@application_option
@click.option("--name", help="A new name.")
@_spec_option
@no_spec_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    event_api: str,
    application: str | None,
    name: str | None,
    spec: Path | None,
    no_spec: bool,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.event_api_pb2 import EventApi, UpdateEventApiRequest
    from moorage.director.v1.specification_pb2 import SPECIFICATION_FORMAT_ASYNCAPI

    paths = changed(name=name, specification=replaced(spec, no_spec), description=description)
    application_id = await references.own_application_id(plane, application)
    new = EventApi(
        application_id=application_id,
        event_api_id=await references.event_api_id(plane, application_id, event_api),
        name=name or "",
        description=description or "",
        specification=read_specification(spec, SPECIFICATION_FORMAT_ASYNCAPI),
        etag=etag or "",
    )
    request = UpdateEventApiRequest(event_api=new, update_mask=FieldMask(paths=paths))
    response = await plane.director.call(plane.director.stub.UpdateEventApi, request)
    plane.output.one(response.event_api)
    warn_of(response.event_api.specification)


@event_api.command()
@_EVENT_API
@application_option
@etag_option
@connected
async def delete(plane: Connection, event_api: str, application: str | None, etag: str | None) -> None:
    """Remove an Event API."""
    from moorage.director.v1.event_api_pb2 import DeleteEventApiRequest

    application_id = await references.own_application_id(plane, application)
    event_api_id = await references.event_api_id(plane, application_id, event_api)
    request = DeleteEventApiRequest(application_id=application_id, event_api_id=event_api_id, etag=etag or "")
    await plane.director.call(plane.director.stub.DeleteEventApi, request)
    tell(f"event-api {event_api} is deleted")

"""`moorage event-api`: the events that Applications send."""

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
    no_spec_option,
    out_option,
    specification_options,
    warn_of,
)
from cli.version import VersionOptions, version_group_option, version_options

COLUMNS = {
    "NAME": "name",
    "EVENT_API_ID": "event_api_id",
    "APPLICATION_ID": "application_id",
    "SPEC": "specification.state",
    "DESCRIPTION": "description",
}
WIDE = {
    "VERSION": "version.value",
    "DEPRECATED": "version.deprecated",
    "REMOVAL": "version.removal_time",
    "VERSION_GROUP": "version_group",
    "BUNDLE_ID": "bundle_id",
    "FETCH": "specification.fetch.state",
}


@click.group()
def event_api() -> None:
    """Event APIs: the events that Applications send."""


_EVENT_API = click.argument("event_api", metavar="EVENT_API")
_FORMATS = "AsyncAPI 2 or 3"


@event_api.command()
@click.argument("name")
@application_option
@specification_options(_FORMATS)
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
    spec: SpecificationOptions,
    version: VersionOptions,
    version_group: str | None,
    bundle: str | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Register an Event API of an Application. NAME is a DNS label, unique among its Event APIs."""
    from moorage.director.v1.event_api_pb2 import CreateEventApiRequest, EventApi

    application_id = await references.own_application_id(plane, application)
    new = EventApi(
        application_id=application_id,
        name=name,
        description=description or "",
        specification=spec.read("asyncapi"),
        version=version.new(),
        version_group=version_group or "",
        bundle_id=await references.optional_bundle_id(plane, application_id, bundle),
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
@search_options
@connected
async def list_(plane: Connection, application: str | None, search: Search) -> None:
    """Show the Event APIs of one Application, or of all."""
    from moorage.director.v1.event_api_pb2 import ListEventApisRequest

    request = ListEventApisRequest(application_id=await references.application_to_list(plane, application))
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListEventApis, request)
    plane.output.many([each async for page in pages for each in page.event_apis], "event_apis", COLUMNS, WIDE)


@event_api.command()
@_EVENT_API
@application_option
@click.option("--name", help="A new name.")
@specification_options(_FORMATS, no_spec_option)
@version_options
@version_group_option
@bundle_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    event_api: str,
    application: str | None,
    name: str | None,
    spec: SpecificationOptions,
    version: VersionOptions,
    version_group: str | None,
    bundle: str | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.event_api_pb2 import EventApi, GetEventApiRequest, UpdateEventApiRequest

    mask = changed(
        name=name,
        specification=spec.given,
        version=version.given,
        version_group=version_group,
        bundle_id=bundle,
        description=description,
    )
    application_id = await references.own_application_id(plane, application)
    new = EventApi(
        application_id=application_id,
        event_api_id=await references.event_api_id(plane, application_id, event_api),
        name=name or "",
        description=description or "",
        specification=spec.read("asyncapi"),
        version_group=version_group or "",
        bundle_id=await references.optional_bundle_id(plane, application_id, bundle),
        etag=etag or "",
    )
    if version.given:
        current = GetEventApiRequest(application_id=application_id, event_api_id=new.event_api_id)
        read = (await plane.director.call(plane.director.stub.GetEventApi, current)).event_api
        new.version.CopyFrom(version.upon(read.version))
        new.etag = etag or read.etag
    request = UpdateEventApiRequest(event_api=new, update_mask=FieldMask(paths=mask))
    response = await plane.director.call(plane.director.stub.UpdateEventApi, request)
    plane.output.one(response.event_api)
    warn_of(response.event_api.specification)


@event_api.command(short_help="Write out an Event API's specification.")
@_EVENT_API
@application_option
@out_option
@connected
async def spec(plane: Connection, event_api: str, application: str | None, out: Path | None) -> None:
    """Write the document that describes an Event API to standard output, or to --out, as the Director has it."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.event_api_pb2 import GetEventApiRequest

    application_id = await references.own_application_id(plane, application)
    event_api_id = await references.event_api_id(plane, application_id, event_api)
    mask = FieldMask(paths=["specification"])
    request = GetEventApiRequest(application_id=application_id, event_api_id=event_api_id, read_mask=mask)
    response = await plane.director.call(plane.director.stub.GetEventApi, request)
    await download(plane, application_id, response.event_api.specification, f"event-api {event_api}", out)


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

"""`moorage label`: which values the labels of Applications and Runtimes may have."""

from pathlib import Path

import click

from cli.connection import Connection
from cli.options import (
    FILE,
    changed,
    connected,
    description_option,
    etag_option,
    force_option,
    new_request_id,
    read_file,
    request_id_option,
)
from cli.output import tell
from cli.search import Search, search_options

COLUMNS = {
    "KEY": "key",
    "SCHEMA": "schema",
    "DESCRIPTION": "description",
}
WIDE = {"UPDATED": "update_time", "REVISION": "revision"}


@click.group()
def label() -> None:
    """Label definitions: which values a label may have."""


_KEY = click.argument("key")
_schema_option = click.option(
    "--schema", type=FILE, help="JSON Schema (2020-12) that each value must meet, as a string; - is stdin."
)


@label.command()
@_KEY
@_schema_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection, key: str, schema: Path | None, description: str | None, request_id: str | None
) -> None:
    """Define the label KEY. What has the label already must meet the schema."""
    from moorage.director.v1.label_pb2 import CreateLabelDefinitionRequest, LabelDefinition

    new = LabelDefinition(key=key, description=description or "", schema=_read(schema))
    request = CreateLabelDefinitionRequest(label_definition=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateLabelDefinition, request)
    plane.output.one(response.label_definition)


@label.command()
@_KEY
@connected
async def get(plane: Connection, key: str) -> None:
    """Show the definition of one label."""
    from moorage.director.v1.label_pb2 import GetLabelDefinitionRequest

    request = GetLabelDefinitionRequest(key=key)
    response = await plane.director.call(plane.director.stub.GetLabelDefinition, request)
    plane.output.one(response.label_definition)


@label.command("list")
@search_options
@connected
async def list_(plane: Connection, search: Search) -> None:
    """Show every label definition."""
    from moorage.director.v1.label_pb2 import ListLabelDefinitionsRequest

    request = ListLabelDefinitionsRequest()
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListLabelDefinitions, request)
    definitions = [each async for page in pages for each in page.label_definitions]
    plane.output.many(definitions, "label_definitions", COLUMNS, WIDE)


@label.command()
@_KEY
@_schema_option
@click.option("--no-schema", is_flag=True, help="Take the schema away: the label may have any value.")
@description_option
@etag_option
@connected
async def update(
    plane: Connection, key: str, schema: Path | None, no_schema: bool, description: str | None, etag: str | None
) -> None:
    """Change what the options name, and nothing else. What has the label must meet a new schema."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.label_pb2 import LabelDefinition, UpdateLabelDefinitionRequest

    if schema is not None and no_schema:
        raise click.UsageError("Give --schema or --no-schema, not both.", click.get_current_context())
    mask = FieldMask(paths=changed(schema=schema or no_schema or None, description=description))
    new = LabelDefinition(key=key, description=description or "", schema=_read(schema), etag=etag or "")
    request = UpdateLabelDefinitionRequest(label_definition=new, update_mask=mask)
    response = await plane.director.call(plane.director.stub.UpdateLabelDefinition, request)
    plane.output.one(response.label_definition)


@label.command(short_help="Remove the definition of a label.")
@_KEY
@etag_option
@force_option
@connected
async def delete(plane: Connection, key: str, etag: str | None, force: bool) -> None:
    """Remove the definition of a label. One that anything has takes --force; the labels stay."""
    from moorage.director.v1.label_pb2 import DeleteLabelDefinitionRequest

    request = DeleteLabelDefinitionRequest(key=key, etag=etag or "", force=force)
    await plane.director.call(plane.director.stub.DeleteLabelDefinition, request)
    tell(f"the definition of label {key} is deleted")


def _read(schema: Path | None) -> str:
    return read_file(schema, "schema") if schema is not None else ""

"""`moorage document`: texts that an Application gives to those who use what it offers."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import references
from cli.connection import Connection
from cli.options import (
    FILE,
    application_option,
    bundle_option,
    changed,
    connected,
    description_option,
    etag_option,
    new_request_id,
    read_file,
    request_id_option,
)
from cli.output import tell
from cli.search import Search, search_options

if TYPE_CHECKING:
    from moorage.director.v1.document_pb2 import DocumentFormat

COLUMNS = {
    "NAME": "name",
    "DOCUMENT_ID": "document_id",
    "APPLICATION_ID": "application_id",
    "FORMAT": "format",
    "TITLE": "title",
}
WIDE = {
    "BUNDLE_ID": "bundle_id",
    "URL": "url",
    "UPDATED": "update_time",
    "DESCRIPTION": "description",
}


@click.group()
def document() -> None:
    """Documents: texts for those who use what an Application offers."""


_DOCUMENT = click.argument("document")
_title_option = click.option("--title", help="Its title, up to 200 characters.")
_file_option = click.option("-f", "--file", "file", type=FILE, help="The text, up to 1 MiB; - is stdin.")
_format_option = click.option(
    "--format",
    type=click.Choice(["markdown", "text"]),
    help="What the text is.  [default: text for .txt, else markdown]",
)
_url_option = click.option("--url", help="Where it stands outside of the plane: an http or https URL.")


@document.command()
@click.argument("name")
@application_option
@_title_option
@_file_option
@_format_option
@_url_option
@bundle_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection,
    name: str,
    application: str | None,
    title: str | None,
    file: Path | None,
    format: str | None,
    url: str | None,
    bundle: str | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Create a document. NAME is a DNS label, unique among the Application's documents."""
    from moorage.director.v1.document_pb2 import CreateDocumentRequest, Document

    application_id = await references.own_application_id(plane, application)
    new = Document(
        application_id=application_id,
        name=name,
        description=description or "",
        title=title or "",
        format=_format(format, file),
        content=read_file(file, "document") if file else "",
        url=url or "",
        bundle_id=await references.optional_bundle_id(plane, application_id, bundle),
    )
    request = CreateDocumentRequest(document=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateDocument, request)
    plane.output.one(response.document)


@document.command(short_help="Show one document, named by id or name.")
@_DOCUMENT
@application_option
@connected
async def get(plane: Connection, document: str, application: str | None) -> None:
    """Show one document, named by id or name, with its text; with -o json however long it is."""
    from moorage.director.v1.document_pb2 import GetDocumentRequest

    application_id = await references.own_application_id(plane, application)
    document_id = await references.document_id(plane, application_id, document)
    request = GetDocumentRequest(application_id=application_id, document_id=document_id)
    response = await plane.director.call(plane.director.stub.GetDocument, request)
    plane.output.one(response.document)


@document.command("list")
@click.option("--application", help="Id or name of an Application.  [default: all that the caller may see]")
@search_options
@connected
async def list_(plane: Connection, application: str | None, search: Search) -> None:
    """Show the documents of one Application, or of all."""
    from moorage.director.v1.document_pb2 import ListDocumentsRequest

    request = ListDocumentsRequest(application_id=await references.application_to_list(plane, application))
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListDocuments, request)
    plane.output.many([each async for page in pages for each in page.documents], "documents", COLUMNS, WIDE)


@document.command()
@_DOCUMENT
@application_option
@click.option("--name", help="A new name.")
@_title_option
@_file_option
@_format_option
@_url_option
@bundle_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    document: str,
    application: str | None,
    name: str | None,
    title: str | None,
    file: Path | None,
    format: str | None,
    url: str | None,
    bundle: str | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else. The text's format changes by --format alone."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.document_pb2 import DOCUMENT_FORMAT_UNSPECIFIED, Document, UpdateDocumentRequest

    mask = FieldMask(
        paths=changed(
            name=name, title=title, content=file, format=format, url=url, bundle_id=bundle, description=description
        )
    )
    application_id = await references.own_application_id(plane, application)
    new = Document(
        application_id=application_id,
        document_id=await references.document_id(plane, application_id, document),
        name=name or "",
        description=description or "",
        title=title or "",
        format=_format(format, None) if format else DOCUMENT_FORMAT_UNSPECIFIED,
        content=read_file(file, "document") if file else "",
        url=url or "",
        bundle_id=await references.optional_bundle_id(plane, application_id, bundle),
        etag=etag or "",
    )
    request = UpdateDocumentRequest(document=new, update_mask=mask)
    response = await plane.director.call(plane.director.stub.UpdateDocument, request)
    plane.output.one(response.document)


@document.command()
@_DOCUMENT
@application_option
@etag_option
@connected
async def delete(plane: Connection, document: str, application: str | None, etag: str | None) -> None:
    """Remove a document."""
    from moorage.director.v1.document_pb2 import DeleteDocumentRequest

    application_id = await references.own_application_id(plane, application)
    document_id = await references.document_id(plane, application_id, document)
    request = DeleteDocumentRequest(application_id=application_id, document_id=document_id, etag=etag or "")
    await plane.director.call(plane.director.stub.DeleteDocument, request)
    tell(f"document {document} is deleted")


def _format(chosen: str | None, file: Path | None) -> "DocumentFormat.ValueType":
    from moorage.director.v1.document_pb2 import DOCUMENT_FORMAT_MARKDOWN, DOCUMENT_FORMAT_TEXT

    is_text = chosen == "text" if chosen else file is not None and file.suffix.lower() == ".txt"
    return DOCUMENT_FORMAT_TEXT if is_text else DOCUMENT_FORMAT_MARKDOWN

"""`moorage application`: the Applications, and where each hears of its Runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import references
from cli.connection import Connection
from cli.labels import LabelChanges, label_changes_options, label_option
from cli.options import (
    FILE,
    changed,
    connected,
    description_option,
    etag_option,
    force_option,
    new_request_id,
    read_secret,
    request_id_option,
)
from cli.output import Columns, as_dict, tell
from cli.search import Search, search_options
from cli.stream import show_steps

if TYPE_CHECKING:
    import grpc
    from moorage.director.v1.configuration_pb2 import (
        ServedRuntime,
        WatchApplicationConfigurationRequest,
        WatchApplicationConfigurationResponse,
    )

COLUMNS = {
    "NAME": "name",
    "APPLICATION_ID": "application_id",
    "STATE": "state",
    "UPDATED": "update_time",
    "DESCRIPTION": "description",
}
WIDE = {
    "SINCE": "state_time",
    "WHY": "state_reason",
    "LAST_SEEN": "last_seen_time",
    "PROVIDER": "provider",
    "LABELS": "labels",
    "BASE_URL": "base_url",
}

RUNTIME_COLUMNS = {
    "NAME": "name",
    "RUNTIME_ID": "runtime_id",
    "STATE": "state",
    "READY": "ready",
    "SPIFFE_ID": "spiffe_id",
    "EVENT_URL": "event_url",
}

SECRET_BYTES = 32


@click.group()
def application() -> None:
    """Applications: who offers APIs and events."""


_APPLICATION = click.argument("application")
_provider_option = click.option("--provider", help="Who stands behind it, up to 200 characters.")
_base_url_option = click.option("--base-url", help="Where the system itself is found: an http or https URL.")
_health_url_option = click.option("--health-url", help="Where it tells how it fares: an http or https URL.")
_eventing_runtime_option = click.option(
    "--eventing-runtime",
    help="Id or name of the Runtime that it sends its events to.  [default, and for '': the one READY for longest]",
)


@application.command()
@click.argument("name")
@_provider_option
@label_option
@_base_url_option
@_health_url_option
@_eventing_runtime_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection,
    name: str,
    provider: str | None,
    labels: tuple[tuple[str, str], ...],
    base_url: str | None,
    health_url: str | None,
    eventing_runtime: str | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Register an Application. NAME is a DNS label: up to 63 of a-z, 0-9 and inner hyphens."""
    from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest

    new = Application(
        name=name,
        description=description or "",
        provider=provider or "",
        labels=dict(labels),
        base_url=base_url or "",
        health_url=health_url or "",
        eventing_runtime_id=await references.optional(plane, references.runtime_id, eventing_runtime),
    )
    request = CreateApplicationRequest(application=new, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.CreateApplication, request)
    plane.output.one(response.application)


@application.command()
@_APPLICATION
@connected
async def get(plane: Connection, application: str) -> None:
    """Show one Application, named by id or name."""
    from moorage.director.v1.application_pb2 import GetApplicationRequest

    request = GetApplicationRequest(application_id=await references.application_id(plane, application))
    response = await plane.director.call(plane.director.stub.GetApplication, request)
    plane.output.one(response.application)


@application.command("list")
@search_options
@connected
async def list_(plane: Connection, search: Search) -> None:
    """Show every Application."""
    from moorage.director.v1.application_pb2 import ListApplicationsRequest

    request = ListApplicationsRequest()
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListApplications, request)
    plane.output.many([each async for page in pages for each in page.applications], "applications", COLUMNS, WIDE)


@application.command()
@_APPLICATION
@click.option("--name", help="A new name.")
@_provider_option
@label_changes_options
@_base_url_option
@_health_url_option
@_eventing_runtime_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    application: str,
    name: str | None,
    provider: str | None,
    labels: LabelChanges,
    base_url: str | None,
    health_url: str | None,
    eventing_runtime: str | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.application_pb2 import Application, GetApplicationRequest, UpdateApplicationRequest

    mask = changed(
        name=name,
        provider=provider,
        labels=labels.given,
        base_url=base_url,
        health_url=health_url,
        eventing_runtime_id=eventing_runtime,
        description=description,
    )
    new = Application(
        application_id=await references.application_id(plane, application),
        name=name or "",
        provider=provider or "",
        base_url=base_url or "",
        health_url=health_url or "",
        eventing_runtime_id=await references.optional(plane, references.runtime_id, eventing_runtime),
        description=description or "",
        etag=etag or "",
    )
    if labels.given:
        current = GetApplicationRequest(application_id=new.application_id)
        read = (await plane.director.call(plane.director.stub.GetApplication, current)).application
        labels.upon(read.labels, new.labels)
        new.etag = etag or read.etag
    request = UpdateApplicationRequest(application=new, update_mask=FieldMask(paths=mask))
    response = await plane.director.call(plane.director.stub.UpdateApplication, request)
    plane.output.one(response.application)


@application.command(short_help="Remove an Application with all that it offers.")
@_APPLICATION
@etag_option
@force_option
@connected
async def delete(plane: Connection, application: str, etag: str | None, force: bool) -> None:
    """Remove an Application with all that it offers. One that was added to groups takes --force."""
    from moorage.director.v1.application_pb2 import DeleteApplicationRequest

    application_id = await references.application_id(plane, application)
    request = DeleteApplicationRequest(application_id=application_id, etag=etag or "", force=force)
    await plane.director.call(plane.director.stub.DeleteApplication, request)
    tell(f"application {application} is deleted")


@application.command(short_help="Show the Runtimes that an Application serves.")
@click.argument("application", required=False)
@click.option("--watch", is_flag=True, help="Stream them as they change: JSON, one message a line.")
@connected
async def runtimes(plane: Connection, application: str | None, watch: bool) -> None:
    """Show the Runtimes that an Application serves: its own view, by default that of the one that calls.

    EVENTING marks the one that it sends its events to by default. With --watch all of them come first, then each
    change; where the stream breaks it begins anew. It ends with Ctrl-C, or when the Director has not answered for
    --timeout.
    """
    application_id = await references.own_application_id(plane, application)
    if watch:
        await _watch(plane, application_id)
        return
    from moorage.director.v1.configuration_pb2 import GetApplicationConfigurationRequest

    request = GetApplicationConfigurationRequest(application_id=application_id)
    served: list[ServedRuntime] = []
    eventing = ""
    async for page in plane.director.pages(plane.director.stub.GetApplicationConfiguration, request):
        served += page.runtimes
        eventing = page.eventing_runtime_id

    def is_eventing(runtime: "ServedRuntime") -> str:
        return "yes" if runtime.runtime_id == eventing else "no"

    columns: Columns = {**RUNTIME_COLUMNS, "EVENTING": is_eventing}
    more = {"eventing_runtime_id": eventing} if eventing else {}
    plane.output.many(served, "runtimes", columns, more=more)


async def _watch(plane: Connection, application_id: str) -> None:
    from moorage.director.v1.configuration_pb2 import WatchApplicationConfigurationRequest

    request = WatchApplicationConfigurationRequest(application_id=application_id)
    watch_configuration = plane.director.stub.WatchApplicationConfiguration

    def open_stream(
        _: "WatchApplicationConfigurationResponse | None",
    ) -> "grpc.aio.UnaryStreamCall[WatchApplicationConfigurationRequest, WatchApplicationConfigurationResponse]":
        return watch_configuration(request)

    await show_steps(plane, open_stream, resumable=False, once=False)


@application.group(short_help="Where an Application hears of its Runtimes.")
def webhook() -> None:
    """Where an Application hears of its Runtimes and takes tokens: POSTs, signed by the Standard Webhooks scheme."""


@webhook.command("get")
@_APPLICATION
@connected
async def get_webhook(plane: Connection, application: str) -> None:
    """Show the webhook, without its secret, and how deliveries go."""
    from moorage.director.v1.webhook_pb2 import GetWebhookRequest

    request = GetWebhookRequest(application_id=await references.application_id(plane, application))
    response = await plane.director.call(plane.director.stub.GetWebhook, request)
    plane.output.one(response.webhook)


@webhook.command("set")
@_APPLICATION
@click.option("--url", required=True, help="Where notices go: an absolute http or https URL.")
@click.option("--pairing-url", help="Where it takes one-time tokens: likewise. Left out: nowhere.")
@click.option("--secret-file", type=FILE, help="File whose first line is the signing secret, whsec_...; - is stdin.")
@click.option("--generate-secret", is_flag=True, help="Make a new signing secret and print it, this once.")
@connected
async def set_webhook(
    plane: Connection,
    application: str,
    url: str,
    pairing_url: str | None,
    secret_file: Path | None,
    generate_secret: bool,
) -> None:
    """Set the webhook. The signing secret is needed the first time; later, left out, it stays as it is.

    With --generate-secret standard output has the secret alone or, with -o json, in the webhook's field `secret`.
    """
    from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook

    if secret_file is not None and generate_secret:
        raise click.UsageError("Give --secret-file or --generate-secret, not both.", click.get_current_context())
    secret = _new_secret() if generate_secret else read_secret(secret_file, "secret") if secret_file else ""
    application_id = await references.application_id(plane, application)
    new = Webhook(application_id=application_id, url=url, secret=secret, pairing_url=pairing_url or "")
    request = UpdateWebhookRequest(webhook=new)
    response = await plane.director.call(plane.director.stub.UpdateWebhook, request)
    if not generate_secret:
        plane.output.one(response.webhook)
        return
    if plane.output.is_structured:
        plane.output.data({**as_dict(response.webhook), "secret": secret})
    else:
        click.echo(secret)
    tell(f"the webhook of {application} is set; its secret is shown this once")


@webhook.command("delete")
@_APPLICATION
@connected
async def delete_webhook(plane: Connection, application: str) -> None:
    """End the notices. Those that wait are dropped."""
    from moorage.director.v1.webhook_pb2 import DeleteWebhookRequest

    request = DeleteWebhookRequest(application_id=await references.application_id(plane, application))
    await plane.director.call(plane.director.stub.DeleteWebhook, request)
    tell(f"the webhook of {application} is deleted")


def _new_secret() -> str:
    import base64
    import secrets

    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"

"""`moorage application`: the Applications, and where each hears of its Runtimes."""

from pathlib import Path

import click

from cli import references
from cli.connection import Connection
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
from cli.output import as_dict, tell

COLUMNS = {
    "NAME": "name",
    "APPLICATION_ID": "application_id",
    "UPDATED": "update_time",
    "DESCRIPTION": "description",
}

RUNTIME_COLUMNS = {
    "NAME": "name",
    "RUNTIME_ID": "runtime_id",
    "READY": "ready",
    "SPIFFE_ID": "spiffe_id",
    "EVENT_URL": "event_url",
}

SECRET_BYTES = 32


@click.group()
def application() -> None:
    """Applications: who offers APIs and events."""


_APPLICATION = click.argument("application")


@application.command()
@click.argument("name")
@description_option
@request_id_option
@connected
async def create(plane: Connection, name: str, description: str | None, request_id: str | None) -> None:
    """Register an Application. NAME is a DNS label: up to 63 of a-z, 0-9 and inner hyphens."""
    from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest

    request = CreateApplicationRequest(
        application=Application(name=name, description=description or ""), request_id=new_request_id(request_id)
    )
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
@connected
async def list_(plane: Connection) -> None:
    """Show every Application."""
    from moorage.director.v1.application_pb2 import ListApplicationsRequest

    pages = plane.director.pages(plane.director.stub.ListApplications, ListApplicationsRequest())
    plane.output.many([each async for page in pages for each in page.applications], "applications", COLUMNS)


@application.command()
@_APPLICATION
@click.option("--name", help="A new name.")
@description_option
@etag_option
@connected
async def update(
    plane: Connection, application: str, name: str | None, description: str | None, etag: str | None
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.application_pb2 import Application, UpdateApplicationRequest

    mask = FieldMask(paths=changed(name=name, description=description))
    application_id = await references.application_id(plane, application)
    new = Application(application_id=application_id, name=name or "", description=description or "", etag=etag or "")
    request = UpdateApplicationRequest(application=new, update_mask=mask)
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
@connected
async def runtimes(plane: Connection, application: str | None) -> None:
    """Show the Runtimes that an Application serves: its own view, by default that of the one that calls."""
    from moorage.director.v1.configuration_pb2 import GetApplicationConfigurationRequest

    application_id = await references.own_application_id(plane, application)
    request = GetApplicationConfigurationRequest(application_id=application_id)
    pages = plane.director.pages(plane.director.stub.GetApplicationConfiguration, request)
    plane.output.many([each async for page in pages for each in page.runtimes], "runtimes", RUNTIME_COLUMNS)


@application.group(short_help="Where an Application hears of its Runtimes.")
def webhook() -> None:
    """Where an Application hears of its Runtimes: POST requests, signed by the Standard Webhooks scheme."""


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
@click.option("--secret-file", type=FILE, help="File whose first line is the signing secret, whsec_...; - is stdin.")
@click.option("--generate-secret", is_flag=True, help="Make a new signing secret and print it, this once.")
@connected
async def set_webhook(
    plane: Connection, application: str, url: str, secret_file: Path | None, generate_secret: bool
) -> None:
    """Set the webhook. The signing secret is needed the first time; later, left out, it stays as it is.

    With --generate-secret standard output has the secret alone or, with -o json, in the webhook's field `secret`.
    """
    from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook

    if secret_file is not None and generate_secret:
        raise click.UsageError("Give --secret-file or --generate-secret, not both.", click.get_current_context())
    secret = _new_secret() if generate_secret else read_secret(secret_file, "secret") if secret_file else ""
    application_id = await references.application_id(plane, application)
    request = UpdateWebhookRequest(webhook=Webhook(application_id=application_id, url=url, secret=secret))
    response = await plane.director.call(plane.director.stub.UpdateWebhook, request)
    if not generate_secret:
        plane.output.one(response.webhook)
        return
    if plane.output.is_json:
        plane.output.json({**as_dict(response.webhook), "secret": secret})
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

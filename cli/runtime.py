"""`moorage runtime`: Runtimes, and what each is to run."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cli import references
from cli.connection import Connection
from cli.labels import LabelChanges, label_changes_options, label_option
from cli.operation import ended, show, wait_timeout_option
from cli.options import (
    changed,
    connected,
    description_option,
    etag_option,
    force_option,
    new_request_id,
    request_id_option,
)
from cli.output import tell
from cli.search import NO_SEARCH, Search, search_options
from cli.stream import show_steps, watch_runtimes

if TYPE_CHECKING:
    import grpc
    from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse
    from moorage.director.v1.runtime_pb2 import Runtime

COLUMNS = {
    "NAME": "name",
    "RUNTIME_ID": "runtime_id",
    "STATE": "state",
    "REVISION": "status.revision",
    "REPORTED": "status.report_time",
    "EVENT_URL": "event_url",
    "DESCRIPTION": "description",
}
WIDE = {
    "SINCE": "state_time",
    "WHY": "state_reason",
    "LAST_SEEN": "last_seen_time",
    "DESIRED": "desired_revision",
    "DESIRED_SINCE": "desired_time",
    "REPORT": "status.state",
    "AGENT": "status.agent_version",
    "LABELS": "labels",
}
"""`REVISION` is what the agent reported, `DESIRED` the last that changed what it is to run."""

ASKED_AT_ONCE = 16
"""How many Runtimes are read at the same time where a table shows what lists leave out."""


@click.group()
def runtime() -> None:
    """Runtimes: where workloads run."""


_RUNTIME = click.argument("runtime")
_wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait for the end of the operation, telling its steps."
)
_registry_only_option = click.option(
    "--registry-only", is_flag=True, help="Only the entry in the registry: its agent is run by other means."
)
_event_url_option = click.option("--event-url", help="Where Applications send their events: an http or https URL.")


@runtime.command()
@click.argument("name")
@_event_url_option
@label_option
@click.option(
    "--group", "groups", multiple=True, help="Id or name of a group it is in from the first; may be repeated."
)
@click.option("--driver", default="", help="What provisions it.  [default: process]")
@_registry_only_option
@description_option
@request_id_option
@_wait_option
@wait_timeout_option
@connected
async def create(
    plane: Connection,
    name: str,
    event_url: str | None,
    labels: tuple[tuple[str, str], ...],
    groups: tuple[str, ...],
    driver: str,
    registry_only: bool,
    description: str | None,
    request_id: str | None,
    wait: bool,
    wait_timeout: timedelta,
) -> None:
    """Create a Runtime whole, up to its agent's READY. NAME is a DNS label.

    Shows the Runtime or, with --no-wait, the operation that goes on.
    """
    group_ids = await references.every(plane, references.group_id, groups)
    if registry_only:
        from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest as CreateEntryRequest
        from moorage.director.v1.runtime_pb2 import Runtime

        entry = Runtime(name=name, description=description or "", event_url=event_url or "", labels=dict(labels))
        to_register = CreateEntryRequest(runtime=entry, group_ids=group_ids, request_id=new_request_id(request_id))
        registered = await plane.director.call(plane.director.stub.CreateRuntime, to_register)
        plane.output.one(registered.runtime)
        return
    from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, RuntimeOperationMetadata

    request = CreateRuntimeRequest(
        name=name,
        description=description or "",
        event_url=event_url or "",
        group_ids=group_ids,
        labels=dict(labels),
        driver=driver,
        request_id=new_request_id(request_id),
    )
    operation = await plane.provisioner.call(plane.provisioner.stub.CreateRuntime, request)
    if not wait:
        show(plane, operation)
        return
    metadata = RuntimeOperationMetadata()
    (await ended(plane, operation.name, wait_timeout)).metadata.Unpack(metadata)
    await _show(plane, metadata.runtime_id)


@runtime.command(short_help="Show one Runtime, named by id or name.")
@_RUNTIME
@connected
async def get(plane: Connection, runtime: str) -> None:
    """Show one Runtime, named by id or name, with what its agent last reported."""
    await _show(plane, await references.runtime_id(plane, runtime))


@runtime.command("list")
@search_options
@click.option("--watch", is_flag=True, help="Stream them as they change: JSON, one message a line.")
@connected
async def list_(plane: Connection, search: Search, watch: bool) -> None:
    """Show every Runtime. With -o wide, what it runs (REVISION) beside what it is to run (DESIRED).

    With --watch all of them come first, whole, then each that is new or changed; where the stream breaks it begins
    anew. It ends with Ctrl-C, or when the Director has not answered for --timeout.
    """
    from moorage.director.v1.runtime_pb2 import ListRuntimesRequest

    if watch:
        if search != NO_SEARCH:
            raise click.UsageError("--watch shows all of them: it takes no --filter, --order-by or --page-size.")
        await show_steps(plane, lambda _: watch_runtimes(plane), resumable=False, once=False)
        return
    request = ListRuntimesRequest()
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListRuntimes, request)
    runtimes = [each async for page in pages for each in page.runtimes]
    if plane.output.is_wide:
        await _add_desired_revisions(plane, runtimes)
    plane.output.many(runtimes, "runtimes", COLUMNS, WIDE)


@runtime.command()
@_RUNTIME
@click.option("--name", help="A new name.")
@_event_url_option
@label_changes_options
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    runtime: str,
    name: str | None,
    event_url: str | None,
    labels: LabelChanges,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, Runtime, UpdateRuntimeRequest

    mask = changed(name=name, event_url=event_url, labels=labels.given, description=description)
    new = Runtime(
        runtime_id=await references.runtime_id(plane, runtime),
        name=name or "",
        description=description or "",
        event_url=event_url or "",
        etag=etag or "",
    )
    if labels.given:
        current = GetRuntimeRequest(runtime_id=new.runtime_id)
        read = (await plane.director.call(plane.director.stub.GetRuntime, current)).runtime
        labels.upon(read.labels, new.labels)
        new.etag = etag or read.etag
    request = UpdateRuntimeRequest(runtime=new, update_mask=FieldMask(paths=mask))
    response = await plane.director.call(plane.director.stub.UpdateRuntime, request)
    plane.output.one(response.runtime)


@runtime.command()
@_RUNTIME
@_registry_only_option
@force_option
@request_id_option
@_wait_option
@wait_timeout_option
@connected
async def delete(
    plane: Connection,
    runtime: str,
    registry_only: bool,
    force: bool,
    request_id: str | None,
    wait: bool,
    wait_timeout: timedelta,
) -> None:
    """Remove a Runtime whole: its workload, then its entry. With --no-wait, show the operation that goes on.

    With --registry-only, one that was added to groups, or that an Application sends its events to, takes --force.
    """
    runtime_id = await references.runtime_id(plane, runtime)
    if registry_only:
        from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest as DeleteEntryRequest

        entry = DeleteEntryRequest(runtime_id=runtime_id, force=force)
        await plane.director.call(plane.director.stub.DeleteRuntime, entry)
    else:
        from moorage.provisioner.v1.runtime_pb2 import DeleteRuntimeRequest

        request = DeleteRuntimeRequest(runtime_id=runtime_id, request_id=new_request_id(request_id))
        operation = await plane.provisioner.call(plane.provisioner.stub.DeleteRuntime, request)
        if not wait:
            show(plane, operation)
            return
        await ended(plane, operation.name, wait_timeout)
    tell(f"runtime {runtime} is deleted")


@runtime.command(short_help="Stream a Runtime's configuration as it changes.")
@_RUNTIME
@click.option("--once", is_flag=True, help="End once the configuration as it is now is shown.")
@connected
async def watch(plane: Connection, runtime: str, once: bool) -> None:
    """Stream a Runtime's configuration: first all of it, then each change, as JSON, one message a line.

    A revision is shown once it is whole. Where the stream breaks it is resumed; it ends with Ctrl-C, or when the
    Director has not answered for --timeout.
    """
    from moorage.director.v1.configuration_pb2 import ResumePoint, WatchConfigurationRequest

    runtime_id = await references.runtime_id(plane, runtime)
    watch_configuration = plane.director.stub.WatchConfiguration

    def open_stream(
        last: "WatchConfigurationResponse | None",
    ) -> "grpc.aio.UnaryStreamCall[WatchConfigurationRequest, WatchConfigurationResponse]":
        resume = ResumePoint(plane_id=last.plane_id, revision=last.revision) if last else None
        return watch_configuration(WatchConfigurationRequest(runtime_id=runtime_id, resume=resume))

    await show_steps(plane, open_stream, resumable=True, once=once)


async def _add_desired_revisions(plane: Connection, runtimes: "Sequence[Runtime]") -> None:
    """Read what lists leave out; a Runtime that went meanwhile is shown without."""
    import grpc
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.runtime_pb2 import GetRuntimeRequest

    mask = FieldMask(paths=["desired_revision", "desired_time"])
    turn = asyncio.Semaphore(ASKED_AT_ONCE)

    async def add(runtime: "Runtime") -> None:
        request = GetRuntimeRequest(runtime_id=runtime.runtime_id, read_mask=mask)
        async with turn:
            try:
                response = await plane.director.call(plane.director.stub.GetRuntime, request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
            else:
                runtime.MergeFrom(response.runtime)

    await asyncio.gather(*map(add, runtimes))


async def _show(plane: Connection, runtime_id: str) -> None:
    from moorage.director.v1.runtime_pb2 import GetRuntimeRequest

    request = GetRuntimeRequest(runtime_id=runtime_id)
    response = await plane.director.call(plane.director.stub.GetRuntime, request)
    plane.output.one(response.runtime)

"""`moorage runtime`: Runtimes, and what each is to run."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cli import references
from cli.connection import FIRST_WAIT, LONGEST_WAIT, Connection
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
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.director.v1.configuration_pb2 import ResumePoint, WatchConfigurationResponse

COLUMNS = {
    "NAME": "name",
    "RUNTIME_ID": "runtime_id",
    "STATE": "state",
    "REVISION": "status.revision",
    "REPORTED": "status.report_time",
    "EVENT_URL": "event_url",
    "DESCRIPTION": "description",
}


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
        await _register(plane, name, description or "", event_url or "", group_ids, new_request_id(request_id))
        return
    from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, RuntimeOperationMetadata

    request = CreateRuntimeRequest(
        name=name,
        description=description or "",
        event_url=event_url or "",
        group_ids=group_ids,
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
@connected
async def list_(plane: Connection) -> None:
    """Show every Runtime."""
    from moorage.director.v1.runtime_pb2 import ListRuntimesRequest

    pages = plane.director.pages(plane.director.stub.ListRuntimes, ListRuntimesRequest())
    plane.output.many([each async for page in pages for each in page.runtimes], "runtimes", COLUMNS)


@runtime.command()
@_RUNTIME
@click.option("--name", help="A new name.")
@_event_url_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    runtime: str,
    name: str | None,
    event_url: str | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.runtime_pb2 import Runtime, UpdateRuntimeRequest

    mask = FieldMask(paths=changed(name=name, event_url=event_url, description=description))
    new = Runtime(
        runtime_id=await references.runtime_id(plane, runtime),
        name=name or "",
        description=description or "",
        event_url=event_url or "",
        etag=etag or "",
    )
    request = UpdateRuntimeRequest(runtime=new, update_mask=mask)
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
    async with aclosing(_revisions(plane, await references.runtime_id(plane, runtime))) as revisions:
        async for revision in revisions:
            for message in revision:
                plane.output.json_line(message)
            if once:
                return


async def _register(
    plane: Connection, name: str, description: str, event_url: str, group_ids: list[str], request_id: str
) -> None:
    from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

    entry = Runtime(name=name, description=description, event_url=event_url)
    request = CreateRuntimeRequest(runtime=entry, group_ids=group_ids, request_id=request_id)
    response = await plane.director.call(plane.director.stub.CreateRuntime, request)
    plane.output.one(response.runtime)


async def _show(plane: Connection, runtime_id: str) -> None:
    from moorage.director.v1.runtime_pb2 import GetRuntimeRequest

    request = GetRuntimeRequest(runtime_id=runtime_id)
    response = await plane.director.call(plane.director.stub.GetRuntime, request)
    plane.output.one(response.runtime)


async def _revisions(plane: Connection, runtime_id: str) -> AsyncGenerator[list["WatchConfigurationResponse"], None]:
    """The messages of each revision, resumed where the stream breaks; ends only by an error.

    Raises `grpc.aio.AioRpcError` for a refusal, `Stopped` (UNAVAILABLE) where nothing answered for the call's time.
    """
    from moorage.director.v1.configuration_pb2 import ResumePoint

    from mesh.backoff import Backoff

    clock = asyncio.get_running_loop().time
    backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
    resume: ResumePoint | None = None
    give_up = clock() + plane.timeout
    while True:
        revision: list[WatchConfigurationResponse] = []
        try:
            async with aclosing(_messages(plane, runtime_id, resume)) as messages:
                async for message in messages:
                    revision.append(message)
                    if not message.partial:
                        yield revision
                        revision = []
                        resume = ResumePoint(plane_id=message.plane_id, revision=message.revision)
                    backoff.reset()
                    give_up = math.inf
        except Stopped as broken:
            if broken.code is not Exit.UNAVAILABLE:
                raise
            now = clock()
            give_up = min(give_up, now + plane.timeout)
            wait = backoff.next()
            if now + wait >= give_up:
                raise
            tell("the stream broke; resuming it")
            await asyncio.sleep(wait)


async def _messages(
    plane: Connection, runtime_id: str, resume: "ResumePoint | None"
) -> AsyncGenerator["WatchConfigurationResponse", None]:
    # The messages of one stream. It ends by raising: `Stopped` (UNAVAILABLE) where trying again may help.
    import grpc
    from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse

    from mesh.errors import Problem

    director = plane.director
    stream = director.stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id, resume=resume))
    # A resumed stream may have nothing to say for long; a new one begins with a snapshot.
    patience = plane.timeout if resume is None else None
    try:
        while isinstance(message := await asyncio.wait_for(stream.read(), patience), WatchConfigurationResponse):
            patience = None
            yield message
        problem = Problem(grpc.StatusCode.UNAVAILABLE, "it ended the stream")
    except TimeoutError:
        raise Stopped(
            Exit.DEADLINE, f"the Director at {director.address} sent no configuration within {plane.timeout:g} s"
        ) from None
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        if problem.code is not grpc.StatusCode.UNAVAILABLE:
            raise
    finally:
        stream.cancel()
    raise director.unreachable(problem)

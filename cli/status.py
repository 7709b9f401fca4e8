"""`moorage status`: the plane at a glance: which services answer, and which Runtimes are not as they should be."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cli.connection import Connection
from cli.options import connected
from cli.output import Columns, as_dict, enum_name
from cli.stream import steps, watch_runtimes
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.director.v1.runtime_pb2 import Runtime, WatchRuntimesResponse

SERVICES = {
    "Director": "moorage.director.v1.Director",
    "Connector": "moorage.connector.v1.Connector",
    "Provisioner": "moorage.provisioner.v1.Provisioner",
}
"""Each with the name that its health is asked for by."""


@click.command()
@click.option("--watch", is_flag=True, help="Show it anew whenever a Runtime changed, until Ctrl-C.")
@connected
async def status(plane: Connection, watch: bool) -> None:
    """Show the plane at a glance: which services answer, how many Runtimes are in which state, and which need a look.

    Those are the ones that FAILED, are STALE, or do not run yet what they are to run: each with what it is to run
    (DESIRED), what it reported about last (OBSERVED), since when it lags, and why; and with each resource that failed.
    Ends with 7 where a service does not answer. With -o json or yaml, --watch shows one document a line, or a document.
    """
    answers = await _answers(plane)
    if not answers["Director"].is_serving:
        _show(plane, answers, {}, streamed=watch)
        raise answers["Director"].trouble()
    runtimes: dict[str, Runtime] = {}
    async with aclosing(steps(plane, lambda _: watch_runtimes(plane), resumable=False)) as whole:
        async for step in whole:
            if not _take(runtimes, step):
                continue
            _show(plane, answers, runtimes, streamed=watch)
            if not watch:
                break
            if not plane.output.is_structured:
                click.echo()
            answers = await _answers(plane)
    for each in answers.values():
        if not each.is_serving:
            raise each.trouble()


class _Answer(NamedTuple):
    """What a service said of itself, or why it did not."""

    service: str
    address: str
    state: str
    why: str = ""

    @property
    def is_serving(self) -> bool:
        return self.state == "SERVING"

    def trouble(self) -> Stopped:
        said = f"does not answer ({self.why})" if self.why else f"says that it is {self.state}"
        return Stopped(Exit.UNAVAILABLE, f"the {self.service} at {self.address} {said}: its log says more")


async def _answers(plane: Connection) -> dict[str, _Answer]:
    """Ask every service, all at once, and each only once."""
    answers = await asyncio.gather(*(_answer(plane, service) for service in SERVICES))
    return {each.service: each for each in answers}


async def _answer(plane: Connection, service: str) -> _Answer:
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    from mesh.errors import Problem

    peer = plane.health(service)
    try:
        answer = await peer.stub.Check(HealthCheckRequest(service=SERVICES[service]), timeout=plane.timeout)
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        if problem.code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
        return _Answer(service, peer.address, "UNREACHABLE", problem.message)
    return _Answer(service, peer.address, HealthCheckResponse.ServingStatus.Name(answer.status))


def _take(runtimes: "dict[str, Runtime]", step: "Sequence[WatchRuntimesResponse]") -> bool:
    """Take a step in; says whether it brought anything."""
    from moorage.director.v1.configuration_pb2 import CONFIGURATION_KIND_BOOKMARK, CONFIGURATION_KIND_SNAPSHOT

    if step[0].kind == CONFIGURATION_KIND_SNAPSHOT:
        runtimes.clear()
    for message in step:
        runtimes.update((each.runtime_id, each) for each in message.runtimes)
        for runtime_id in message.removed_runtime_ids:
            runtimes.pop(runtime_id, None)
    return step[0].kind != CONFIGURATION_KIND_BOOKMARK


def _show(
    plane: Connection, answers: Mapping[str, _Answer], runtimes: "Mapping[str, Runtime]", *, streamed: bool
) -> None:
    output = plane.output
    numbers = Counter(_state(each) for each in runtimes.values())
    attention = sorted(filter(_needs_a_look, runtimes.values()), key=lambda each: each.name)
    if output.is_structured:
        shown = {
            "services": [_without_empty(each._asdict()) for each in answers.values()],
            "runtimes": dict(sorted(numbers.items())),
            "attention": [as_dict(each) for each in attention],
        }
        if streamed:
            output.entry(shown)
        else:
            output.data(shown)
        return
    if not output.is_name:
        output.table(("SERVICE", "ADDRESS", "STATE"), (each[:3] for each in answers.values()))
        click.echo()
        output.table(("STATE", "RUNTIMES"), ([state, str(number)] for state, number in sorted(numbers.items())))
    if attention:
        if not output.is_name:
            click.echo()
        output.many(attention, "attention", COLUMNS, {"RUNTIME_ID": "runtime_id", "LAST_SEEN": "last_seen_time"})
    failures = list(_failures(attention))
    if failures and not output.is_name:
        click.echo()
        output.table(("NAME", "APPLICATION_ID", "FAILURE"), failures)


def _state(runtime: "Runtime") -> str:
    from moorage.director.v1.runtime_state_pb2 import RuntimeState

    return enum_name(runtime.state, RuntimeState.DESCRIPTOR)


def _needs_a_look(runtime: "Runtime") -> bool:
    return _state(runtime) in {"FAILED", "STALE"} or _lags(runtime)


def _lags(runtime: "Runtime") -> bool:
    """Whether it does not run yet what it is to run."""
    from moorage.director.v1.configuration_pb2 import REPORT_STATE_APPLYING

    status = runtime.status
    return runtime.desired_revision > status.revision or status.state == REPORT_STATE_APPLYING


def _lags_since(runtime: "Runtime") -> str:
    return runtime.desired_time.ToJsonString() if _lags(runtime) and runtime.HasField("desired_time") else ""


def _failures(runtimes: "Sequence[Runtime]") -> Iterator[tuple[str, str, str]]:
    for runtime in runtimes:
        for failure in runtime.status.failures:
            yield runtime.name, failure.application_id, " ".join(failure.message.split())


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


COLUMNS: Columns = {
    "NAME": "name",
    "STATE": "state",
    "SINCE": "state_time",
    "DESIRED": "desired_revision",
    "OBSERVED": "status.revision",
    "REPORT": "status.state",
    "LAGS_SINCE": _lags_since,
    "WHY": "state_reason",
}

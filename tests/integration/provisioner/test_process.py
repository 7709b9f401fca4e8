"""The Provisioner's process: Runtimes over the wire, and everything that can end it in the middle of its work."""

import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.longrunning.operations_pb2 import ListOperationsRequest, Operation
from moorage.provisioner.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    GetRuntimeRequest,
    ListRuntimesRequest,
    Runtime,
)

from mesh.errors import Problem
from tests.integration.provisioner.plane import DEADLINE, TOKEN, Gate, Plane, metadata

EDGE = CreateRuntimeRequest(name="edge-1")


async def create(plane: Plane) -> Operation:
    return await plane.provisioner().CreateRuntime(EDGE, timeout=DEADLINE, wait_for_ready=True)


async def created(plane: Plane) -> str:
    """The id of a runtime that was created."""
    return response(await plane.ended(await create(plane)))


def response(ended: Operation) -> str:
    runtime = Runtime()
    assert ended.response.Unpack(runtime), ended.error
    return runtime.runtime_id


def files_with(text: str, folder: Path) -> list[str]:
    return [str(each) for each in folder.rglob("*") if each.is_file() and text.encode() in each.read_bytes()]


async def test_a_runtime_is_created_whole_and_deleted_whole(plane: Plane) -> None:
    runtime_id = await created(plane)
    assert list(plane.director.runtimes) == list(plane.agents()) == [runtime_id]
    request = DeleteRuntimeRequest(runtime_id=runtime_id)
    await plane.ended(await plane.provisioner().DeleteRuntime(request, timeout=DEADLINE))
    assert (plane.director.runtimes, plane.agents(), list(plane.runtimes.iterdir())) == ({}, {}, [])


async def test_the_token_is_nowhere_but_in_its_file(plane: Plane) -> None:
    runtime_id = await created(plane)
    assert files_with(TOKEN, plane.folder) == [str(plane.runtimes / runtime_id / "token")]


async def test_a_name_that_is_taken_is_refused_at_once_at_our_own_field(plane: Plane) -> None:
    await created(plane)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(plane)
    problem = Problem.of(refused.value)
    assert (problem.code, problem.reason) == (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN")
    assert [each.field for each in problem.violations] == ["name"]


async def test_without_the_director_a_creation_is_refused_and_reads_go_on(plane: Plane) -> None:
    await plane.stop_double("director")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(plane)
    problem = Problem.of(refused.value)
    assert (problem.reason, problem.metadata["service"]) == ("DEPENDENCY_UNAVAILABLE", "director")
    assert problem.retry_after is not None
    assert not (await plane.provisioner().ListRuntimes(ListRuntimesRequest(), timeout=DEADLINE)).runtimes


async def test_a_viewer_may_read_and_not_create(plane: Plane) -> None:
    viewer = plane.mint.identity("viewer", "vic")
    await plane.provisioner(viewer).ListRuntimes(ListRuntimesRequest(), timeout=DEADLINE)
    await plane.operations(viewer).ListOperations(ListOperationsRequest(), timeout=DEADLINE)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.provisioner(viewer).CreateRuntime(EDGE, timeout=DEADLINE)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_application_may_do_nothing_here(plane: Plane) -> None:
    application = plane.mint.identity("application", str(uuid.uuid4()))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plane.operations(application).ListOperations(ListOperationsRequest(), timeout=DEADLINE)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


GATES: dict[str, Callable[[Plane], Gate]] = {
    "register": lambda plane: plane.director.created_gate,
    "prepare": lambda plane: plane.connector.gate,
    "ready": lambda plane: plane.director.read_gate,
}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill-9", "graceful"])
@pytest.mark.parametrize("step", GATES)
async def test_a_creation_interrupted_in_any_step_is_carried_through_by_the_next_process(
    plane: Plane, step: str, number: signal.Signals
) -> None:
    gate = GATES[step](plane)
    gate.close()
    operation = await create(plane)
    await gate.held.wait()
    assert metadata(await plane.now(operation)).steps[-1].name == step
    await plane.end(number)
    gate.open()
    await plane.start()
    runtime_id = response(await plane.ended(operation))
    assert plane.director.created == 1
    assert list(plane.director.runtimes) == list(plane.agents()) == [runtime_id]


async def test_a_deletion_interrupted_by_kill_9_is_carried_through_by_the_next_process(plane: Plane) -> None:
    runtime_id = await created(plane)
    plane.director.deleted_gate.close()
    request = DeleteRuntimeRequest(runtime_id=runtime_id)
    operation = await plane.provisioner().DeleteRuntime(request, timeout=DEADLINE)
    await plane.director.deleted_gate.held.wait()
    await plane.end(signal.SIGKILL)
    plane.director.deleted_gate.open()
    await plane.start()
    assert not (await plane.ended(operation)).HasField("error")
    assert (plane.director.runtimes, plane.agents()) == ({}, {})


async def test_agents_run_on_through_kill_9_of_the_provisioner_and_are_looked_after_by_the_next(plane: Plane) -> None:
    runtime_id = await created(plane)
    pid = plane.agents()[runtime_id]
    await plane.end(signal.SIGKILL)
    assert plane.agents() == {runtime_id: pid}
    await plane.start()
    reading = GetRuntimeRequest(runtime_id=runtime_id)
    await plane.provisioner().GetRuntime(reading, timeout=DEADLINE, wait_for_ready=True)
    assert plane.agents() == {runtime_id: pid}
    os.kill(pid, signal.SIGKILL)
    await plane.agent_of(runtime_id, other_than=pid)


async def test_agents_run_on_after_a_graceful_stop(plane: Plane) -> None:
    await created(plane)
    agents = plane.agents()
    assert await plane.end(signal.SIGTERM) == 0
    assert plane.agents() == agents


async def test_agents_stop_with_the_provisioner_and_start_with_it_where_that_is_set(stopped_plane: Plane) -> None:
    plane = stopped_plane
    plane.settings["stop_agents_on_exit"] = True
    await plane.start()
    runtime_id = await created(plane)
    assert await plane.end(signal.SIGTERM) == 0
    assert plane.agents() == {}
    await plane.start()
    await plane.agent_of(runtime_id)

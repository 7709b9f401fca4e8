"""What becomes of an operation: all of a Runtime, or nothing of it, and a record that says which and why."""

from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import Operation
from google.protobuf.empty_pb2 import Empty
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import (
    OPERATION_KIND_CREATE,
    RUNTIME_STATE_DELETING,
    RUNTIME_STATE_FAILED,
    RUNTIME_STATE_RUNNING,
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    ListRuntimesRequest,
    Runtime,
    RuntimeOperationMetadata,
)

from mesh.errors import Problem, Refusal
from tests.unit.provisioner.conftest import ADMIN, Provisioner
from tests.unit.provisioner.doubles import TOKEN, away

EDGE = CreateRuntimeRequest(name="edge-1")


def steps(message: Operation) -> list[str]:
    return [each.name for each in metadata(message).steps]


def metadata(message: Operation) -> RuntimeOperationMetadata:
    unpacked = RuntimeOperationMetadata()
    assert message.metadata.Unpack(unpacked)
    return unpacked


def runtime_of(message: Operation) -> Runtime:
    runtime = Runtime()
    assert message.response.Unpack(runtime)
    return runtime


async def created(provisioner: Provisioner) -> Runtime:
    return runtime_of(await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN)))


def files_with(text: str, folder: Path) -> list[str]:
    """Names of the files in `folder` that hold `text`."""
    return [each.name for each in folder.iterdir() if text.encode() in each.read_bytes()]


def lose(database: str, folder: Path) -> None:
    for each in folder.glob(f"{database}*"):
        each.unlink()


async def states(provisioner: Provisioner) -> list[int]:
    return [each.state for each in (await provisioner.runtimes.list(ListRuntimesRequest())).rows]


async def test_a_created_runtime_is_registered_runs_and_is_the_operations_response(provisioner: Provisioner) -> None:
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    runtime = runtime_of(message)
    assert (runtime.name, runtime.driver, runtime.state) == ("edge-1", "process", RUNTIME_STATE_RUNNING)
    assert runtime.operation == message.name
    assert provisioner.plane.runtimes == [runtime.runtime_id]
    assert provisioner.driver.workloads == {runtime.runtime_id: "running"}


async def test_the_metadata_tells_every_step_with_its_times(provisioner: Provisioner) -> None:
    async with provisioner.at_work():
        told = metadata(await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN)))
    assert (told.kind, told.total_steps) == (OPERATION_KIND_CREATE, 4)
    assert [each.name for each in told.steps] == ["register", "prepare", "start", "ready"]
    times = [time.ToMicroseconds() for each in told.steps for time in (each.start_time, each.end_time)]
    assert times == sorted(times)
    assert told.create_time.ToMicroseconds() <= times[0]
    assert times[-1] <= told.end_time.ToMicroseconds()


async def test_no_token_is_in_any_database(provisioner: Provisioner, tmp_path: Path) -> None:
    async with provisioner.at_work():
        await created(provisioner)
    assert files_with(TOKEN, tmp_path) == []


async def test_a_service_that_is_away_for_a_while_is_waited_for(provisioner: Provisioner) -> None:
    provisioner.plane.refusals = {
        "register": [away("director")],
        "issue_token": [away("connector")],
        "runtime": [away("director"), away("director")],
    }
    async with provisioner.at_work():
        await created(provisioner)
    assert await states(provisioner) == [RUNTIME_STATE_RUNNING]


async def test_a_creation_that_the_director_refuses_fails_with_its_reason(provisioner: Provisioner) -> None:
    taken = Refusal(Reason.REASON_NAME_TAKEN, "the name is taken", field="name", metadata={"id": "x"})
    provisioner.plane.refusals = {"register": [taken, taken]}
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    problem = Problem.from_status(message.error)
    assert (problem.reason, problem.violations[0].field, problem.metadata) == ("NAME_TAKEN", "name", {"id": "x"})
    assert provisioner.plane.runtimes == []
    assert await states(provisioner) == [RUNTIME_STATE_FAILED]


@pytest.mark.parametrize("failing", ["prepare", "start"])
async def test_a_creation_whose_driver_fails_is_undone_whole(provisioner: Provisioner, failing: str) -> None:
    provisioner.driver.failures = {failing: 1}
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    problem = Problem.from_status(message.error)
    assert (problem.reason, problem.message) == ("DRIVER_FAILED", "the disk is full")
    assert steps(message)[-2:] == ["remove", "deregister"]
    assert len(steps(message)) == metadata(message).total_steps
    assert provisioner.plane.runtimes == []
    assert provisioner.driver.workloads == {}


async def test_a_runtime_that_does_not_become_ready_is_undone_and_the_error_says_why(provisioner: Provisioner) -> None:
    provisioner.plane.failures = ["catalogue: not JSON"]
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    problem = Problem.from_status(message.error)
    assert problem.reason == "RUNTIME_NOT_READY"
    assert "catalogue: not JSON" in problem.message
    assert (provisioner.plane.runtimes, provisioner.driver.workloads) == ([], {})


async def test_an_agent_that_applies_without_end_is_told_of_as_such(provisioner: Provisioner) -> None:
    provisioner.plane.applying = 7
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    assert "it was still applying revision 7" in Problem.from_status(message.error).message


async def test_where_the_agent_reports_nothing_the_error_tells_how_it_ended(provisioner: Provisioner) -> None:
    provisioner.driver.deaf = True
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    assert "with status 14" in Problem.from_status(message.error).message


async def test_a_runtime_deleted_behind_our_back_while_it_is_created_fails_at_once(provisioner: Provisioner) -> None:
    gone = Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "no such runtime", field="runtime_id")
    provisioner.plane.refusals = {"runtime": [gone]}
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    assert Problem.from_status(message.error).reason == "RUNTIME_NOT_FOUND"
    assert provisioner.driver.workloads == {}


async def test_a_registration_whose_answer_was_lost_leaves_no_orphan(provisioner: Provisioner) -> None:
    provisioner.plane.unheard = 100
    async with provisioner.at_work():
        operation = await provisioner.runtimes.create(EDGE, ADMIN)

        async def has_failed() -> bool:
            return (await provisioner.operations.get(operation.operation_id)).error is not None

        await provisioner.until(has_failed)
        provisioner.plane.unheard = 0
        message = await provisioner.ended(operation)
    problem = Problem.from_status(message.error)
    assert (problem.reason, problem.metadata) == ("DEPENDENCY_UNAVAILABLE", {"service": "director"})
    assert (provisioner.plane.created, provisioner.plane.runtimes) == (1, [])


async def test_an_operation_has_not_ended_before_it_is_undone(provisioner: Provisioner) -> None:
    provisioner.driver.failures = {"start": 1, "remove": 2}
    provisioner.plane.refusals = {"deregister": [away("director")]}
    async with provisioner.at_work():
        await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    assert (provisioner.plane.runtimes, provisioner.driver.workloads) == ([], {})
    assert provisioner.driver.calls.count("remove") == 3


async def test_a_fault_of_ours_shows_nothing_of_itself(
    provisioner: Provisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(runtime_id: str, token: str) -> None:
        raise ZeroDivisionError("in the cellar")

    monkeypatch.setattr(provisioner.driver, "prepare", broken)
    async with provisioner.at_work():
        message = await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
    problem = Problem.from_status(message.error)
    assert problem.reason == "INTERNAL"
    assert "cellar" not in message.error.message
    assert provisioner.plane.runtimes == []


async def test_a_deleted_runtime_is_gone_everywhere(provisioner: Provisioner) -> None:
    async with provisioner.at_work():
        runtime = await created(provisioner)
        request = DeleteRuntimeRequest(runtime_id=runtime.runtime_id)
        message = await provisioner.ended(await provisioner.runtimes.delete(request, ADMIN))
    assert message.response.Is(Empty.DESCRIPTOR)
    assert steps(message) == ["stop", "remove", "deregister"]
    assert (provisioner.plane.runtimes, provisioner.driver.workloads) == ([], {})
    assert await states(provisioner) == []


async def test_a_runtime_that_the_director_no_longer_has_can_be_deleted(provisioner: Provisioner) -> None:
    async with provisioner.at_work():
        runtime = await created(provisioner)
        provisioner.plane.forget(runtime.runtime_id)
        request = DeleteRuntimeRequest(runtime_id=runtime.runtime_id)
        message = await provisioner.ended(await provisioner.runtimes.delete(request, ADMIN))
    assert not message.HasField("error")
    assert provisioner.driver.workloads == {}


async def test_a_deletion_that_fails_can_be_asked_for_again(provisioner: Provisioner) -> None:
    async with provisioner.at_work():
        runtime = await created(provisioner)
        request = DeleteRuntimeRequest(runtime_id=runtime.runtime_id)
        provisioner.driver.failures = {"remove": 1}
        first = await provisioner.ended(await provisioner.runtimes.delete(request, ADMIN))
        assert Problem.from_status(first.error).reason == "DRIVER_FAILED"
        assert await states(provisioner) == [RUNTIME_STATE_DELETING]
        await provisioner.ended(await provisioner.runtimes.delete(request, ADMIN))
    assert (provisioner.plane.runtimes, provisioner.driver.workloads) == ([], {})


async def test_a_failed_runtime_gives_its_name_up(provisioner: Provisioner) -> None:
    provisioner.driver.failures = {"start": 1}
    async with provisioner.at_work():
        await provisioner.ended(await provisioner.runtimes.create(EDGE, ADMIN))
        await created(provisioner)
    assert await states(provisioner) == [RUNTIME_STATE_RUNNING]


async def test_an_operation_asked_for_before_the_durable_work_is_up_is_carried_out(provisioner: Provisioner) -> None:
    operation = await provisioner.runtimes.create(EDGE, ADMIN)
    async with provisioner.at_work():
        runtime = runtime_of(await provisioner.ended(operation))
    assert provisioner.plane.runtimes == [runtime.runtime_id]


async def test_an_operation_that_dbos_has_lost_is_begun_anew_without_a_second_runtime(
    provisioner: Provisioner, tmp_path: Path
) -> None:
    async def has_started() -> bool:
        return "start" in provisioner.driver.calls

    provisioner.driver.deaf = True
    async with provisioner.at_work():
        operation = await provisioner.runtimes.create(EDGE, ADMIN)
        await provisioner.until(has_started)
    lose("dbos.sqlite", tmp_path)
    provisioner.driver.deaf = False
    async with provisioner.at_work():
        await provisioner.ended(operation)
    assert provisioner.plane.created == 1

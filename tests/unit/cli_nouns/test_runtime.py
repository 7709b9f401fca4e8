"""runtime and operation: creation is followed to its end, and the stream is shown revision by revision."""

import json
from collections.abc import Iterator

import pytest
from google.longrunning.operations_pb2 import ListOperationsResponse, Operation
from google.protobuf.empty_pb2 import Empty
from moorage.director.v1 import runtime_pb2 as director_runtimes
from moorage.director.v1.configuration_pb2 import ResumePoint, WatchConfigurationResponse
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import OPERATION_KIND_CREATE, OperationStep, RuntimeOperationMetadata

from mesh.errors import Refusal
from mesh.exits import Exit
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

RUNTIME = "2d9fbd5e-3f0c-4a57-8d43-5a1f2f6ad333"
PLANE = "3e9fbd5e-3f0c-4a57-8d43-5a1f2f6ad444"
NAME = "operations/4f9fbd5e-3f0c-4a57-8d43-5a1f2f6ad555"


def operation(*steps: str, done: bool = False, error: Refusal | None = None) -> Operation:
    made = Operation(name=NAME, done=done)
    made.metadata.Pack(
        RuntimeOperationMetadata(
            runtime_id=RUNTIME,
            kind=OPERATION_KIND_CREATE,
            steps=[OperationStep(name=step) for step in steps],
            total_steps=4,
        )
    )
    if error is not None:
        made.error.MergeFromString(error.to_status().SerializeToString())
    elif done:
        made.response.Pack(Empty())
    return made


def goes(plane: ScriptedPlane, method: str, *states: Operation) -> None:
    """The operation begins, and each time that it is waited for it is in the next of the states."""
    later: Iterator[Operation] = iter(states)
    plane.answers[method] = lambda _: operation()
    plane.answers["WaitOperation"] = lambda _: next(later)


@pytest.fixture
def quay(plane: ScriptedPlane) -> None:
    found = director_runtimes.Runtime(runtime_id=RUNTIME, name="quay")
    plane.answers["GetRuntime"] = lambda _: director_runtimes.GetRuntimeResponse(runtime=found)


@pytest.mark.usefixtures("quay")
def test_a_creation_tells_each_step_once_and_shows_the_runtime(plane: ScriptedPlane, run: Run) -> None:
    whole = ("register", "prepare", "start", "ready")
    goes(plane, "CreateRuntime", operation("register"), operation(*whole[:3]), operation(*whole, done=True))
    ended = run("runtime", "create", "quay", "--event-url", "https://quay.example", "-o", "json")
    assert ended.returncode == Exit.OK
    assert json.loads(ended.stdout) == {"runtime_id": RUNTIME, "name": "quay"}
    assert ended.stderr.splitlines() == [
        f"moorage: {NAME}: step {position} of 4: {step}" for position, step in enumerate(whole, 1)
    ]
    [request] = plane.asked("CreateRuntime")
    assert (request.name, request.event_url, bool(request.request_id)) == ("quay", "https://quay.example", True)


def test_a_creation_that_fails_fails_the_command_with_its_reason(plane: ScriptedPlane, run: Run) -> None:
    failed = Refusal(Reason.REASON_RUNTIME_NOT_READY, "the agent did not report within 30 s")
    goes(plane, "CreateRuntime", operation("register", done=True, error=failed))
    ended = run("runtime", "create", "quay")
    assert ended.returncode == Exit.DEADLINE
    assert ended.stdout == ""
    assert "the agent did not report within 30 s" in ended.stderr
    assert "RUNTIME_NOT_READY" in ended.stderr


def test_an_operation_that_does_not_end_in_time_is_told_how_to_wait_further(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["CreateRuntime"] = plane.answers["WaitOperation"] = lambda _: operation("register")
    ended = run("runtime", "create", "quay", "--wait-timeout", "100ms")
    assert ended.returncode == Exit.DEADLINE
    assert f"`moorage operation wait {NAME}`" in ended.stderr


def test_without_waiting_the_operation_is_shown(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["CreateRuntime"] = lambda _: operation("register")
    ended = run("runtime", "create", "quay", "--no-wait")
    assert ended.stdout.splitlines()[1].split()[:5] == [NAME, "CREATE", "RUNNING", "1/4", "register"]
    assert plane.asked("WaitOperation") == []


def test_a_runtime_with_an_agent_of_ones_own_is_only_registered(plane: ScriptedPlane, run: Run) -> None:
    registered = director_runtimes.Runtime(runtime_id=RUNTIME, name="quay")
    plane.answers["CreateRuntime"] = lambda _: director_runtimes.CreateRuntimeResponse(runtime=registered)
    plane.answers["DeleteRuntime"] = lambda _: director_runtimes.DeleteRuntimeResponse()
    assert run("runtime", "create", "quay", "--registry-only", "--group", PLANE).returncode == Exit.OK
    assert run("runtime", "delete", RUNTIME, "--registry-only").returncode == Exit.OK
    [request] = plane.asked("CreateRuntime")
    assert isinstance(request, director_runtimes.CreateRuntimeRequest)
    assert list(request.group_ids) == [PLANE]
    assert plane.asked("DeleteRuntime") == [director_runtimes.DeleteRuntimeRequest(runtime_id=RUNTIME)]


def test_a_deletion_is_waited_for(plane: ScriptedPlane, run: Run) -> None:
    goes(plane, "DeleteRuntime", operation("stop"), operation("stop", "remove", done=True))
    ended = run("runtime", "delete", RUNTIME)
    assert ended.returncode == Exit.OK
    assert ended.stderr.splitlines()[-1] == f"moorage: runtime {RUNTIME} is deleted"


def test_operations_are_listed_with_how_they_stand(plane: ScriptedPlane, run: Run) -> None:
    failed = operation("register", done=True, error=Refusal(Reason.REASON_DRIVER_FAILED, "no room"))
    listed = ListOperationsResponse(operations=[operation("register"), operation("ready", done=True), failed])
    plane.answers["ListOperations"] = lambda _: listed
    rows = run("operation", "list").stdout.splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["RUNNING", "DONE", "FAILED"]
    shown = json.loads(run("operation", "list", "-o", "json").stdout)["operations"]
    assert shown[2]["error"]["message"] == "no room"
    assert shown[2]["error"]["details"][0]["reason"] == "DRIVER_FAILED"
    assert shown[0]["metadata"]["runtime_id"] == RUNTIME


@pytest.mark.parametrize("named", [NAME, NAME.removeprefix("operations/")])
def test_an_operation_is_named_with_or_without_its_collection(plane: ScriptedPlane, run: Run, named: str) -> None:
    plane.answers["WaitOperation"] = lambda _: operation("ready", done=True)
    assert run("operation", "wait", named).returncode == Exit.OK
    assert plane.asked("WaitOperation")[0].name == NAME


def message(revision: int, *, partial: bool = False) -> WatchConfigurationResponse:
    return WatchConfigurationResponse(plane_id=PLANE, revision=revision, partial=partial)


def revisions(out: str) -> list[str]:
    return [json.loads(line)["revision"] for line in out.splitlines()]


BROKEN = Refusal(Reason.REASON_NOT_READY, "the service is stopping")
GONE = Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "the runtime is gone")


def test_a_watch_shows_each_revision_and_ends_as_the_director_says(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[message(1), message(2), GONE]]
    ended = run("runtime", "watch", RUNTIME)
    assert revisions(ended.stdout) == ["1", "2"]
    assert ended.returncode == Exit.NOT_FOUND


def test_a_watch_that_breaks_is_resumed_after_the_last_whole_revision(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[message(1), message(2, partial=True), BROKEN], [message(2, partial=True), message(2), GONE]]
    ended = run("runtime", "watch", RUNTIME)
    assert revisions(ended.stdout) == ["1", "2", "2"]
    first, second = plane.asked("WatchConfiguration")
    assert not first.HasField("resume")
    assert second.resume == ResumePoint(plane_id=PLANE, revision=1)


def test_a_stream_that_ends_without_a_reason_is_resumed(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[message(1)], [message(2), GONE]]
    assert revisions(run("runtime", "watch", RUNTIME).stdout) == ["1", "2"]


def test_a_watch_gives_up_when_the_director_stays_away(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[message(1)], *([[BROKEN]] * 20)]
    ended = run("runtime", "watch", RUNTIME, "--timeout", "300ms")
    assert revisions(ended.stdout) == ["1"]
    assert ended.returncode == Exit.UNAVAILABLE


def test_a_watch_that_hears_nothing_at_first_ends_at_its_deadline(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[None]]
    ended = run("runtime", "watch", RUNTIME, "--timeout", "100ms")
    assert ended.returncode == Exit.DEADLINE


def test_one_look_ends_with_the_first_whole_revision(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[message(1, partial=True), message(1), None]]
    ended = run("runtime", "watch", RUNTIME, "--once")
    assert (ended.returncode, revisions(ended.stdout)) == (Exit.OK, ["1", "1"])

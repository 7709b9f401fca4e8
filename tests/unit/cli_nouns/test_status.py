"""status: which services answer, and which Runtimes need a look; and the Runtimes as a stream."""

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    REPORT_STATE_APPLIED,
    REPORT_STATE_APPLYING,
    REPORT_STATE_FAILED,
    ResourceFailure,
)
from moorage.director.v1.runtime_pb2 import Runtime, RuntimeStatus, WatchRuntimesResponse
from moorage.director.v1.runtime_state_pb2 import (
    RUNTIME_STATE_FAILED,
    RUNTIME_STATE_READY,
    RUNTIME_STATE_STALE,
)
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal
from mesh.exits import Exit
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APPLICATION = "1c8fbd5e-3f0c-4a57-8d43-5a1f2f6ad222"
SINCE = Timestamp(seconds=1893456000)
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
BROKEN = Refusal(Reason.REASON_NOT_READY, "the service is stopping")
REFUSED = Refusal(Reason.REASON_ACCESS_DENIED, "enough for this test")


def runtime(name: str, state: Any = RUNTIME_STATE_READY, desired: int = 7, /, **status: Any) -> Runtime:
    reported = RuntimeStatus(**{"revision": desired, "state": REPORT_STATE_APPLIED, **status})
    about: dict[str, Any] = {"state": state, "state_time": SINCE, "desired_revision": desired, "desired_time": SINCE}
    return Runtime(runtime_id=f"id-{name}", name=name, status=reported, **about)


def failed(name: str, *messages: str) -> Runtime:
    failures = [ResourceFailure(application_id=APPLICATION, message=message) for message in messages]
    made = runtime(name, RUNTIME_STATE_FAILED, state=REPORT_STATE_FAILED, failures=failures)
    made.state_reason = messages[0]
    return made


def snapshot(*runtimes: Runtime, partial: bool = False) -> WatchRuntimesResponse:
    return WatchRuntimesResponse(revision=9, kind=CONFIGURATION_KIND_SNAPSHOT, runtimes=runtimes, partial=partial)


def delta(*runtimes: Runtime, removed: tuple[str, ...] = ()) -> WatchRuntimesResponse:
    return WatchRuntimesResponse(
        revision=10, kind=CONFIGURATION_KIND_DELTA, runtimes=runtimes, removed_runtime_ids=removed
    )


def answers(plane: ScriptedPlane, **states: int) -> None:
    """Each service says that it is SERVING, save those that are named."""

    def check(request: HealthCheckRequest) -> HealthCheckResponse:
        service = request.service.rpartition(".")[2].lower()
        return HealthCheckResponse(status=states.get(service, SERVING))

    plane.answers["Check"] = check


def tables(out: str) -> list[list[list[str]]]:
    """The cells of each table, save its titles."""
    return [[line.split() for line in table.splitlines()[1:]] for table in out.split("\n\n")]


def test_a_plane_where_all_is_well_is_two_short_tables(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    plane.turns = [[snapshot(runtime("quay"), partial=True), snapshot(runtime("pier")), None]]
    ended = run("status")
    services, states = tables(ended.stdout)
    assert [row[::2] for row in services] == [[name, "SERVING"] for name in ("Director", "Connector", "Provisioner")]
    assert states == [["READY", "2"]]
    assert ended.returncode == Exit.OK


def test_who_failed_is_stale_or_lags_has_a_row_and_nobody_else(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    lags, applies = runtime("lags", revision=5), runtime("works", state=REPORT_STATE_APPLYING)
    stale = runtime("away", RUNTIME_STATE_STALE)
    stale.state_reason = "neither called nor streamed for 90 s"
    plane.turns = [[snapshot(runtime("well"), failed("bad", "no port"), lags, applies, stale), None]]
    _, _, attention, _ = tables(run("status").stdout)
    assert [row[:2] for row in attention] == [
        ["away", "STALE"],
        ["bad", "FAILED"],
        ["lags", "READY"],
        ["works", "READY"],
    ]
    since = "2030-01-01T00:00:00Z"
    assert attention[0][2:5] == [since, "7", "7"]
    assert " ".join(attention[0][-7:]) == "neither called nor streamed for 90 s"
    assert attention[2][2:] == [since, "7", "5", "APPLIED", since]


@pytest.mark.check("stream-11")
def test_each_resource_that_could_not_be_applied_is_shown_with_why(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    plane.turns = [[snapshot(failed("bad", "no such port", "too\nlarge")), None]]
    *_, failures = tables(run("status").stdout)
    assert failures == [["bad", APPLICATION, "no", "such", "port"], ["bad", APPLICATION, "too", "large"]]


def test_programs_read_the_same(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    plane.turns = [[snapshot(runtime("well"), failed("bad", "no port")), None]]
    shown = json.loads(run("status", "-o", "json").stdout)
    assert shown["services"][0] == {"service": "Director", "address": "plane:1", "state": "SERVING"}
    assert shown["runtimes"] == {"FAILED": 1, "READY": 1}
    assert [(each["name"], each["status"]["failures"][0]["message"]) for each in shown["attention"]] == [
        ("bad", "no port")
    ]


def test_names_are_those_of_the_runtimes_that_need_a_look(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    plane.turns = [[snapshot(runtime("well"), failed("bad", "no port")), None]]
    assert run("status", "-o", "name").stdout.splitlines() == ["bad"]


def test_a_service_that_does_not_serve_is_shown_and_fails_the_command(plane: ScriptedPlane, run: Run) -> None:
    answers(plane, connector=NOT_SERVING)
    plane.turns = [[snapshot(runtime("quay")), None]]
    ended = run("status")
    services, states = tables(ended.stdout)
    assert services[1][2] == "NOT_SERVING"
    assert states == [["READY", "1"]]
    assert ended.returncode == Exit.UNAVAILABLE
    assert "the Connector at plane:1 says that it is NOT_SERVING" in ended.stderr


def test_without_the_director_the_services_are_shown(plane: ScriptedPlane, run: Run) -> None:
    ended = run("status", "--timeout", "100ms")
    assert [row[2] for row in tables(ended.stdout)[0]] == ["UNREACHABLE"] * 3
    assert ended.returncode == Exit.UNAVAILABLE


def test_a_watch_shows_the_plane_anew_whenever_a_runtime_changed(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    bookmark = WatchRuntimesResponse(revision=11, kind=CONFIGURATION_KIND_BOOKMARK)
    changed = delta(failed("quay", "no port"), removed=("id-pier",))
    plane.turns = [[snapshot(runtime("quay"), runtime("pier")), bookmark, changed, REFUSED]]
    ended = run("status", "--watch", "-o", "json")
    shown = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [each["runtimes"] for each in shown] == [{"READY": 2}, {"FAILED": 1}]
    assert ended.returncode == Exit.REFUSED


def test_a_watch_that_breaks_begins_anew(plane: ScriptedPlane, run: Run) -> None:
    answers(plane)
    plane.turns = [[snapshot(runtime("gone")), BROKEN], [snapshot(runtime("quay"), runtime("pier")), REFUSED]]
    shown = [json.loads(line) for line in run("status", "--watch", "-o", "json").stdout.splitlines()]
    assert [each["runtimes"] for each in shown] == [{"READY": 1}, {"READY": 2}]


def test_runtimes_are_streamed_a_message_a_line(plane: ScriptedPlane, run: Run) -> None:
    plane.turns = [[snapshot(runtime("quay")), BROKEN], [snapshot(runtime("quay")), delta(runtime("pier")), REFUSED]]
    lines = [json.loads(line) for line in run("runtime", "list", "--watch").stdout.splitlines()]
    assert [(each["kind"].removeprefix("CONFIGURATION_KIND_"), each["runtimes"][0]["name"]) for each in lines] == [
        ("SNAPSHOT", "quay"),
        ("SNAPSHOT", "quay"),
        ("DELTA", "pier"),
    ]


def test_what_is_streamed_cannot_be_filtered(run: Run) -> None:
    ended = run("runtime", "list", "--watch", "--filter", "quay")
    assert ended.returncode == Exit.USAGE
    assert "--watch shows all of them" in ended.stderr

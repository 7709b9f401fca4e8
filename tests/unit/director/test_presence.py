"""Presence: which Applications are CONNECTED or STALE, and when parties were last seen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from moorage.director.v1.application_pb2 import (
    Application,
    ApplicationState,
    ConfirmPairingRequest,
    DeleteApplicationRequest,
    GetApplicationRequest,
    ReportApplicationStatusRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from certs.spiffe import SpiffeId
from director.application_states import confirm_pairing, report_application_status
from director.applications import delete_application, get_application, update_application
from director.presence import Presence
from director.runtimes import get_runtime
from director.times import to_micros
from mesh.call import Caller
from mesh.errors import Refusal
from tests.unit.director.plane import BEGIN, Plane, new_id
from tests.unit.director.refused import refused

INITIAL = ApplicationState.APPLICATION_STATE_INITIAL
PAIRED = ApplicationState.APPLICATION_STATE_PAIRED
CONNECTED = ApplicationState.APPLICATION_STATE_CONNECTED
STALE = ApplicationState.APPLICATION_STATE_STALE
FAILED = ApplicationState.APPLICATION_STATE_FAILED

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def party(kind: str, name: str) -> Caller:
    return Caller(SpiffeId("plane.test", f"/{kind}/{name}"), "01", datetime(2040, 1, 1, tzinfo=UTC))


class Watched:
    """A plane whose Applications and Runtimes are watched, with a clock that is set."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.now = BEGIN + timedelta(hours=1)
        self.presence = self.watcher()

    def watcher(self) -> Presence:
        """What one Director instance has of it."""
        return Presence(self.plane.database, lambda: self.now, 5 * MINUTE)

    def application(self, application_id: str) -> Application:
        return self.plane.read(get_application, GetApplicationRequest(application_id=application_id)).application

    def reports(self, application_id: str, state: ApplicationState.ValueType, reason: str = "") -> Application:
        request = ReportApplicationStatusRequest(application_id=application_id, state=state, reason=reason)
        with self.plane.transaction() as tx:
            return report_application_status(tx, request, to_micros(self.now)).application

    def enrols(self, application_id: str) -> None:
        with self.plane.transaction() as tx:
            confirm_pairing(tx, ConfirmPairingRequest(application_id=application_id), to_micros(self.now))

    async def calls(self, application_id: str) -> None:
        self.presence.called(party("application", application_id))
        await self.presence.write_newcomers()

    async def minutes(self, count: int) -> None:
        """Let rounds pass, with the sweep that comes with each."""
        for _ in range(count):
            self.now += MINUTE
            await self.presence.end_round()
            await self.presence.sweep()


@pytest.fixture
def watched(plane: Plane) -> Watched:
    return Watched(plane)


@pytest.fixture
def id(plane: Plane) -> str:
    return plane.application("orders").application_id


@pytest.fixture
def statements(plane: Plane) -> Iterator[list[str]]:
    """The statements that the database is given while the test runs."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    event.listen(plane.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(plane.database.engine, "before_cursor_execute", note)


def test_a_new_application_is_initial_and_was_never_seen(watched: Watched, id: str) -> None:
    application = watched.application(id)
    assert application.state == INITIAL
    assert application.state_time == application.create_time
    assert application.state_reason
    assert not application.HasField("last_seen_time")


async def test_a_certificate_makes_it_paired_and_its_first_call_connected(watched: Watched, id: str) -> None:
    watched.enrols(id)
    paired = watched.application(id)
    assert (paired.state, paired.state_reason) == (PAIRED, "it was given a certificate")
    assert paired.state_time.ToDatetime(UTC) == watched.now
    watched.now += SECOND
    await watched.calls(id)
    connected = watched.application(id)
    assert (connected.state, connected.state_reason) == (CONNECTED, "it called")
    assert connected.state_time.ToDatetime(UTC) == connected.last_seen_time.ToDatetime(UTC) == watched.now


async def test_a_certificate_that_is_told_of_late_does_not_turn_it_back(watched: Watched, id: str) -> None:
    await watched.calls(id)
    watched.enrols(id)
    assert watched.application(id).state == CONNECTED


async def test_it_is_stale_when_it_was_silent_for_the_time_set_and_not_before(watched: Watched, id: str) -> None:
    await watched.calls(id)
    await watched.minutes(5)
    assert watched.application(id).state == CONNECTED
    await watched.minutes(1)
    stale = watched.application(id)
    assert (stale.state, stale.state_reason) == (STALE, "neither called nor streamed for 300 s")
    assert stale.state_time.ToDatetime(UTC) == watched.now


async def test_a_call_makes_a_stale_application_connected_again_at_once(watched: Watched, id: str) -> None:
    await watched.calls(id)
    await watched.minutes(6)
    await watched.calls(id)
    connected = watched.application(id)
    assert connected.state == CONNECTED
    assert connected.state_time.ToDatetime(UTC) == watched.now


async def test_an_application_that_calls_now_and_then_stays_connected_since_its_first_call(
    watched: Watched, id: str
) -> None:
    await watched.calls(id)
    since = watched.now
    for _ in range(4):
        await watched.minutes(4)
        await watched.calls(id)
        await watched.minutes(1)
        assert watched.application(id).state_time.ToDatetime(UTC) == since


async def test_an_open_stream_counts_as_seen_for_as_long_as_it_is_open(watched: Watched, id: str) -> None:
    caller = party("application", id)
    await watched.calls(id)
    watched.presence.stream_began(caller)
    watched.presence.stream_began(caller)
    await watched.minutes(20)
    watched.presence.stream_ended(caller)
    await watched.minutes(20)
    assert watched.application(id).state == CONNECTED
    assert watched.application(id).last_seen_time.ToDatetime(UTC) == watched.now
    watched.presence.stream_ended(caller)
    await watched.minutes(6)
    assert watched.application(id).state == STALE


async def test_a_runtime_is_seen_when_its_agent_calls(watched: Watched) -> None:
    runtime = watched.plane.runtime("prod")
    watched.presence.called(party("runtime", runtime.runtime_id))
    await watched.presence.write_newcomers()
    seen = watched.plane.read(get_runtime, GetRuntimeRequest(runtime_id=runtime.runtime_id)).runtime
    assert seen.last_seen_time.ToDatetime(UTC) == watched.now
    assert (seen.etag, seen.update_time) == (runtime.etag, runtime.update_time)


async def test_who_calls_all_the_time_is_written_once_a_round(watched: Watched, id: str, statements: list[str]) -> None:
    await watched.calls(id)
    statements.clear()
    for _ in range(30):
        watched.now += SECOND
        await watched.calls(id)
    assert statements == []
    await watched.presence.end_round()
    assert watched.application(id).last_seen_time.ToDatetime(UTC) == watched.now


async def test_who_was_silent_for_a_round_is_forgotten_and_written_at_once_when_it_comes_again(
    watched: Watched, id: str, statements: list[str]
) -> None:
    await watched.calls(id)
    await watched.minutes(2)
    await watched.calls(id)
    assert watched.application(id).last_seen_time.ToDatetime(UTC) == watched.now
    await watched.minutes(1)
    statements.clear()
    await watched.presence.end_round()
    assert statements == []


async def test_no_change_of_state_is_a_change_of_the_resource(watched: Watched, id: str) -> None:
    created, revision = watched.application(id), watched.plane.revision
    watched.enrols(id)
    await watched.calls(id)
    watched.reports(id, FAILED, "out of stock")
    known = watched.application(id)
    assert (known.etag, known.revision, known.update_time) == (created.etag, created.revision, created.update_time)
    assert watched.plane.revision == revision


async def test_a_change_of_the_resource_is_no_change_of_state(watched: Watched, id: str) -> None:
    await watched.calls(id)
    sent = Application(application_id=id, description="new")
    updated = watched.plane.change(update_application, UpdateApplicationRequest(application=sent)).application
    assert updated.state == CONNECTED
    assert updated.last_seen_time.ToDatetime(UTC) == watched.now


async def test_an_application_that_says_that_it_fails_is_failed_until_it_says_otherwise(
    watched: Watched, id: str
) -> None:
    failed = watched.reports(id, FAILED, "out of\nstock")
    assert (failed.state, failed.state_reason) == (FAILED, "out of stock")
    await watched.calls(id)
    watched.enrols(id)
    await watched.minutes(20)
    assert watched.application(id).state == FAILED
    connected = watched.reports(id, CONNECTED)
    assert (connected.state, connected.state_reason) == (CONNECTED, "it says that it works")
    await watched.minutes(6)
    assert watched.application(id).state == STALE


def test_a_report_of_the_same_state_changes_why_and_not_since_when(watched: Watched, id: str) -> None:
    first = watched.reports(id, FAILED, "one shelf is empty")
    watched.now += MINUTE
    second = watched.reports(id, FAILED, "two are")
    assert second.state_reason == "two are"
    assert second.state_time == first.state_time
    assert second.last_seen_time != first.last_seen_time


def test_who_is_not_there_is_not_found(watched: Watched) -> None:
    with refused("APPLICATION_NOT_FOUND"):
        watched.reports(new_id(), FAILED)
    with refused("APPLICATION_NOT_FOUND"):
        watched.enrols(new_id())


async def test_one_that_was_deleted_meanwhile_is_passed_over(watched: Watched, id: str) -> None:
    other = watched.plane.application("billing").application_id
    watched.plane.change(delete_application, DeleteApplicationRequest(application_id=id))
    watched.presence.called(party("application", id))
    await watched.calls(other)
    await watched.minutes(1)
    assert watched.application(other).state == CONNECTED


async def test_administrators_and_services_are_not_kept(watched: Watched, statements: list[str]) -> None:
    for caller in (party("admin", "ann"), party("service", "connector")):
        watched.presence.called(caller)
        watched.presence.stream_began(caller)
        watched.presence.stream_ended(caller)
    await watched.presence.end_round()
    assert statements == []


async def test_nobody_is_stale_because_no_director_ran(watched: Watched, id: str) -> None:
    await watched.calls(id)
    watched.now += timedelta(hours=2)
    watched.presence = watched.watcher()
    await watched.minutes(4)
    assert watched.application(id).state == CONNECTED
    await watched.minutes(1)
    assert watched.application(id).state == STALE


async def test_of_several_instances_the_latest_sight_counts(watched: Watched, id: str) -> None:
    other = watched.watcher()
    other.called(party("application", id))
    watched.now += SECOND
    await watched.calls(id)
    await other.write_newcomers()
    assert watched.application(id).last_seen_time.ToDatetime(UTC) == watched.now


async def test_what_could_not_be_written_is_written_with_the_next_round(watched: Watched, id: str) -> None:
    watched.presence.called(party("application", id))
    with watched.plane.transaction() as tx:
        tx.exec_driver_sql("ALTER TABLE applications RENAME TO away")
    with pytest.raises((Refusal, DBAPIError)):
        await watched.presence.end_round()
    with watched.plane.transaction() as tx:
        tx.exec_driver_sql("ALTER TABLE away RENAME TO applications")
    await watched.presence.end_round()
    assert watched.application(id).state == CONNECTED


async def test_more_than_one_statement_can_name_are_written_together(watched: Watched) -> None:
    ids = [watched.plane.application().application_id for _ in range(501)]
    for each in ids:
        watched.presence.called(party("application", each))
    await watched.presence.end_round()
    assert {watched.application(each).state for each in ids} == {CONNECTED}


def test_a_time_that_is_none_is_refused(plane: Plane) -> None:
    with pytest.raises(ValueError, match="stale_after"):
        Presence(plane.database, lambda: BEGIN, timedelta())

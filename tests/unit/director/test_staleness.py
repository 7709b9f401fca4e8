"""Staleness: which Runtimes turn STALE, why, and how they turn back."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, timedelta

import pytest
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportState, ResourceFailure
from prometheus_client import REGISTRY
from sqlalchemy import event, update

from director.mutate import Occasion, mutate
from director.reports import report_configuration
from director.staleness import Staleness
from director.store import runtime_states, tables
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.watched import (
    APPLIED,
    APPLYING,
    DIRECTOR,
    FAILED,
    PENDING,
    READY,
    REPORT_FAILED,
    ROUND,
    STALE,
    Instance,
    Watched,
    agent,
)


@pytest.fixture
async def watched(plane: Plane) -> Watched:
    """A Director that has run for long enough to judge."""
    watched = Watched(plane)
    await watched.passes(120)
    return watched


@pytest.fixture
def writes(plane: Plane) -> Iterator[list[str]]:
    """The statements that write, while the test runs."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if not statement.lstrip().startswith("SELECT"):
            seen.append(statement)

    event.listen(plane.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(plane.database.engine, "before_cursor_execute", note)


async def test_a_new_runtime_says_since_when_it_is_pending_and_why(watched: Watched) -> None:
    runtime = watched.runtime()
    assert (runtime.state, runtime.state_reason) == (PENDING, "it is registered")
    assert runtime.state_time == runtime.create_time


async def test_a_runtime_that_was_never_seen_stays_pending(watched: Watched) -> None:
    await watched.passes(3600)
    assert watched.state == PENDING


async def test_a_silent_runtime_is_stale_after_its_time_and_not_before(watched: Watched) -> None:
    await watched.reports(APPLIED)
    await watched.calls()
    await watched.passes(90)
    assert watched.state == READY
    await watched.passes(30)
    stale = watched.runtime()
    assert (stale.state, stale.state_reason) == (STALE, "neither called nor streamed for 90 s")
    assert stale.state_time.ToDatetime(UTC) == watched.now


async def test_a_runtime_with_an_open_stream_is_not_silent(watched: Watched) -> None:
    await watched.reports(APPLIED)
    await watched.streams(600)
    assert watched.state == READY


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(APPLIED, READY), (REPORT_FAILED, FAILED), (None, PENDING)],
    ids=["ready", "failed", "pending"],
)
async def test_a_runtime_that_is_seen_again_is_at_once_what_its_reports_say(
    watched: Watched, outcome: ReportState.ValueType | None, state: int
) -> None:
    if outcome is not None:
        await watched.reports(outcome)
    await watched.reports(APPLYING)  # which says nothing of how it ends
    await watched.calls()
    await watched.passes(120)
    assert watched.state == STALE
    await watched.calls()
    runtime = watched.runtime()
    assert (runtime.state, runtime.state_reason) == (state, "it was seen again")
    assert runtime.state_time.ToDatetime(UTC) == watched.now


async def test_a_turn_is_in_the_change_log_and_applications_are_told(watched: Watched) -> None:
    await watched.reports(APPLIED)
    await watched.calls()
    watched.take_notices()
    for turn in (watched.passes(120), watched.calls()):
        since = watched.plane.revision
        await turn
        [change] = watched.plane.changes_since(since)
        assert (change.action, change.kind, change.runtime_id) == ("UPDATE", "RUNTIME", watched.id)
        assert watched.runtime().revision == change.revision
        assert watched.take_notices() == ["CONFIGURATION_CHANGED"]


async def test_one_that_is_first_ready_after_it_was_stale_is_told_of_as_ready(watched: Watched) -> None:
    await watched.calls()
    await watched.passes(120)
    watched.take_notices()
    await watched.reports(APPLIED)
    assert watched.state == READY
    assert watched.take_notices() == ["RUNTIME_READY"]


async def test_a_stale_runtime_is_no_place_for_events(watched: Watched) -> None:
    await watched.reports(APPLIED)
    await watched.calls()
    await watched.passes(120)
    [row] = watched.plane.rows(tables.runtimes)
    assert row["ready_time"] is None


@pytest.mark.check("stream-13")
async def test_an_agent_stuck_in_applying_is_stale_after_its_deadline_and_others_are_not(watched: Watched) -> None:
    other = watched.plane.runtime("other", group_ids=[watched.group]).runtime_id
    for state in (APPLIED, APPLYING):
        await watched.reports(state)
    revision = watched.runtime().status.revision
    watched.director.presence.stream_began(agent(other))
    await watched.streams(300)
    assert watched.state == READY
    await watched.streams(30)
    stale = watched.runtime()
    why = f"it has been applying revision {revision} for more than 300 s"
    assert (stale.state, stale.state_reason) == (STALE, why)
    assert watched.runtime(other).state == PENDING


async def test_a_stuck_runtime_does_not_turn_back_by_being_seen(watched: Watched) -> None:
    await watched.reports(APPLYING)
    await watched.streams(330)
    await watched.calls()
    await watched.streams(60)
    assert watched.state == STALE


@pytest.mark.parametrize(("outcome", "state"), [(APPLIED, READY), (REPORT_FAILED, FAILED)])
async def test_a_stuck_runtime_turns_back_by_an_outcome(
    watched: Watched, outcome: ReportState.ValueType, state: int
) -> None:
    await watched.reports(APPLYING)
    await watched.streams(330)
    await watched.reports(outcome, watched.runtime().status.revision)
    assert watched.state == state


async def test_an_agent_that_says_nothing_of_what_it_was_sent_is_stale_after_its_deadline(watched: Watched) -> None:
    await watched.reports(APPLIED)
    revision = watched.plane.api(watched.application).revision
    watched.director.sent.awaited[watched.id] = (revision, watched.now)
    await watched.streams(300)
    assert watched.state == READY
    await watched.streams(30)
    stale = watched.runtime()
    why = f"it has not said within 300 s what became of revision {revision}"
    assert (stale.state, stale.state_reason) == (STALE, why)


async def test_an_outcome_of_an_earlier_revision_is_kept_and_is_not_what_is_missed(watched: Watched) -> None:
    await watched.reports(APPLIED)
    earlier = watched.plane.revision
    revision = watched.plane.api(watched.application).revision
    watched.director.sent.awaited[watched.id] = (revision, watched.now)
    await watched.streams(330)
    await watched.reports(REPORT_FAILED, earlier, failures=[ResourceFailure(message="no room")])
    assert watched.state == STALE
    [row] = watched.plane.rows(tables.runtimes)
    assert row["state_before"] == FAILED
    await watched.reports(APPLIED, revision)
    assert watched.state == READY


async def test_who_has_reported_of_what_it_was_sent_is_not_asked_about_again(watched: Watched) -> None:
    revision = watched.plane.api(watched.application).revision
    watched.director.sent.awaited[watched.id] = (revision, watched.now)
    await watched.reports(APPLIED, revision)
    await watched.streams(330)
    assert watched.state == READY
    assert watched.director.sent.awaited == {}


async def test_a_report_that_came_between_the_look_and_the_turn_counts(watched: Watched) -> None:
    revision = watched.plane.api(watched.application).revision
    await watched.reports(APPLIED, revision)
    with watched.plane.transaction() as tx:
        assert runtime_states.unanswered(tx, {watched.id: revision}, revision) == []
        assert len(runtime_states.unanswered(tx, {watched.id: revision + 1}, revision + 1)) == 1


async def test_a_sweep_that_follows_a_report_at_once_does_not_find_the_runtime_silent(watched: Watched) -> None:
    await watched.calls()
    await watched.passes(120)
    assert watched.state == STALE
    await watched.reports(APPLIED)  # that it called is not written yet
    await watched.director.staleness.sweep()
    assert watched.state == READY


async def test_who_is_seen_by_one_instance_is_not_silent_to_another(watched: Watched) -> None:
    other = Instance(watched)
    await watched.reports(APPLIED)
    other.presence.stream_began(agent(watched.id))
    await watched.passes(600, other, watched.director)
    assert watched.state == READY


async def test_any_instance_takes_back_what_another_turned(watched: Watched) -> None:
    other = Instance(watched)
    await watched.reports(APPLIED)
    await watched.calls()
    await watched.passes(120)
    assert watched.state == STALE
    other.presence.called(agent(watched.id))
    await other.presence.write_newcomers()
    assert watched.state == READY


async def test_sweeps_reports_and_sights_at_the_same_time_leave_no_wrong_state(watched: Watched) -> None:
    other = Instance(watched)
    request = ReportConfigurationRequest(runtime_id=watched.id, revision=watched.plane.revision, state=APPLIED)
    for _ in range(10):
        for _ in range(2):
            watched.now += timedelta(minutes=1)
            await other.presence.end_round()
        other.presence.called(agent(watched.id))
        occasion = Occasion(watched.now, DIRECTOR, "call", new_id)
        await asyncio.gather(
            watched.director.staleness.sweep(),
            other.presence.write_newcomers(),
            watched.plane.database.write(mutate, occasion, report_configuration, request),
            other.staleness.sweep(),
        )
        assert watched.state == READY


async def test_nobody_is_stale_because_no_director_ran(watched: Watched) -> None:
    await watched.reports(APPLIED)
    await watched.calls()
    watched.now += timedelta(hours=2)
    watched.director = Instance(watched)
    await watched.passes(60)
    assert watched.state == READY
    await watched.passes(30)
    assert watched.state == STALE


async def test_nobody_is_stale_because_nobody_could_be_seen(watched: Watched) -> None:
    other = Instance(watched)
    await watched.reports(APPLIED)
    other.presence.stream_began(agent(watched.id))
    await watched.passes(60, other, watched.director)
    watched.now += timedelta(minutes=5)  # in which no round could be written
    await watched.passes(30, watched.director)
    assert watched.state == READY
    await watched.passes(120, other, watched.director)
    assert watched.state == READY


async def test_a_new_failure_changes_why_it_is_failed_and_not_since_when(watched: Watched) -> None:
    about = ResourceFailure(application_id=watched.application, message="no\nsuch port")
    await watched.reports(REPORT_FAILED, failures=[about, ResourceFailure(message="and more")])
    first = watched.runtime()
    assert first.state_reason == f"application {watched.application}: no such port"
    watched.now += ROUND
    await watched.reports(REPORT_FAILED, failures=[ResourceFailure(message="x" * 1000)])
    second = watched.runtime()
    assert second.state_reason == "x" * 297 + "..."
    assert second.state_time == first.state_time


async def test_a_sweep_of_a_plane_where_all_is_well_writes_nothing(watched: Watched, writes: list[str]) -> None:
    await watched.reports(APPLIED)
    await watched.calls()
    writes.clear()
    await watched.director.staleness.sweep()
    await watched.director.staleness.take_back()
    assert writes == []


async def test_more_than_one_unit_of_work_turns_are_all_turned_and_taken_back(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SILENT", "_RETURNED"):
        monkeypatch.setattr(runtime_states, name, getattr(runtime_states, name).limit(2))
    for _ in range(4):
        watched.plane.runtime()
    ids = [row["runtime_id"] for row in watched.plane.rows(tables.runtimes)]
    for id in ids:
        await watched.calls(id)
    await watched.passes(120)
    assert {watched.runtime(id).state for id in ids} == {STALE}
    for id in ids:
        watched.director.presence.called(agent(id))
    await watched.director.presence.write_newcomers()
    assert {watched.runtime(id).state for id in ids} == {PENDING}


async def test_the_metrics_say_how_many_are_in_each_state(watched: Watched) -> None:
    await watched.reports(APPLIED)
    watched.plane.runtime()
    await watched.passes(30)
    numbers = {
        state: REGISTRY.get_sample_value("moorage_runtimes", {"state": state})
        for state in ("PENDING", "READY", "FAILED", "STALE")
    }
    assert numbers == {"PENDING": 1, "READY": 1, "FAILED": 0, "STALE": 0}


async def test_a_runtime_that_a_release_without_these_columns_turned_is_known_all_the_same(watched: Watched) -> None:
    await watched.reports(APPLIED)
    await watched.calls()
    await watched.passes(120)
    with watched.plane.transaction() as tx:  # its reports set no more than this
        tx.execute(update(tables.runtimes).values(state=READY, ready_time=0))
    await watched.calls()
    await watched.passes(30)
    assert watched.state == READY
    await watched.passes(90)
    assert watched.state == STALE


@pytest.mark.parametrize("times", [(0, 1), (1, 0)])
def test_a_time_that_is_none_is_refused(watched: Watched, times: tuple[int, int]) -> None:
    silent_after, apply_deadline = (timedelta(seconds=time) for time in times)
    with pytest.raises(ValueError, match="runtime_stale_after and apply_deadline"):
        Staleness(
            watched.plane.database,
            watched.director.sent,
            lambda: watched.now,
            new_id,
            DIRECTOR,
            silent_after=silent_after,
            apply_deadline=apply_deadline,
        )

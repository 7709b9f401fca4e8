"""The demo's own judgement, list and report: it must not call well what is not."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.demo.display import display
from cli.demo.load import Changes, judged
from cli.demo.report import Outcome, StepFailed, write_report
from cli.demo.runtime import AgentStatus, Certificate, Counts, read_status, wait_for_status

STARTED = datetime(2030, 1, 1, tzinfo=UTC)


def status(serial: str = "aa" * 16, started_at: datetime = STARTED, **counts: int) -> AgentStatus:
    return AgentStatus(
        started_at=started_at,
        state="APPLIED",
        revision=7,
        applied_at=datetime(2030, 1, 1, tzinfo=UTC),
        certificate=Certificate(serial),
        counts=Counts(**{"renewals": 0, "streams_opened": 1, "snapshots": 1, **counts}),
    )


BEFORE = status()
RENEWED = status("bb" * 16, renewals=1, streams_opened=2)
CHANGES = Changes(made=40, revision=50, attempts_failed=0)


def test_a_renewal_without_a_failed_call_is_told_with_both_serials() -> None:
    assert judged(BEFORE, RENEWED, CHANGES) == (
        "certificate aaaaaaaa gave way to bbbbbbbb during 40 changes: no failed call, no snapshot"
    )


def test_a_failed_call_fails_the_step() -> None:
    with pytest.raises(StepFailed, match="2 calls of the agent failed"):
        judged(BEFORE, status("bb" * 16, renewals=1, calls_failed=2), CHANGES)


def test_a_snapshot_where_the_agent_should_have_resumed_fails_the_step() -> None:
    with pytest.raises(StepFailed, match="sent 1 snapshots"):
        judged(BEFORE, status("bb" * 16, renewals=1, snapshots=2), CHANGES)


def test_a_certificate_that_was_not_renewed_but_replaced_fails_the_step() -> None:
    with pytest.raises(StepFailed, match="counts no renewal"):
        judged(BEFORE, status("bb" * 16), CHANGES)


def test_attempts_that_were_made_again_are_told() -> None:
    again = Changes(made=40, revision=50, attempts_failed=2)
    assert judged(BEFORE, status("bb" * 16, renewals=1, attempts_failed=1), again).endswith(
        "no snapshot, 3 attempts made again"
    )


def test_an_agent_that_was_started_again_is_judged_by_what_it_did_since() -> None:
    again = status("bb" * 16, STARTED + timedelta(seconds=9), renewals=0, snapshots=0)
    assert judged(status(renewals=0), again, CHANGES).endswith("the agent was started again")


def test_the_report_is_what_the_steps_came_to(tmp_path: Path) -> None:
    file = tmp_path / "build" / "demo.json"
    write_report(file, [Outcome("plane", 1200.5, "ready")], ok=True)
    assert json.loads(file.read_text()) == {
        "ok": True,
        "steps": [{"name": "plane", "ms": 1200.5, "detail": "ready"}],
    }


def test_away_from_a_terminal_each_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with display(["First", "The second"]) as shown:
        shown.begin("First")
        shown.end(Outcome("first", 12.4, "well"), ok=True)
        shown.begin("The second")
        shown.end(Outcome("second", 1000, "not well"), ok=False)
    assert capsys.readouterr().err == (
        "ok      1/2 First           12 ms  well\nFAILED  2/2 The second    1000 ms  not well\n"
    )


def test_on_a_terminal_the_list_shows_every_step_from_the_beginning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with display(["First", "The second"]) as shown:
        shown.begin("First")
        shown.end(Outcome("first", 12.4, "well [not markup]"), ok=True)
    said = capsys.readouterr().err
    assert "The second" in said
    assert "well [not markup]" in said


async def test_a_status_that_does_not_come_fails_the_step_with_the_last_one_seen(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    with pytest.raises(StepFailed, match=r"revision 9 did not come within 0\.01 s.*None"):
        await wait_for_status(tmp_path, "revision 9", lambda _: True, deadline=0.01)

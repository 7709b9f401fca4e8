"""The status file: whole at any moment, and as it should be in the end."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from agent.status import Certificate, Status, StatusFile

STARTED = datetime(2029, 12, 31, tzinfo=UTC)
CERTIFICATE = Certificate("0a1b", datetime(2030, 1, 1, tzinfo=UTC))


def test_a_status_without_configuration_says_that_it_waits(tmp_path: Path) -> None:
    StatusFile(tmp_path / "status.json", Status("r", "1.2.3", STARTED, certificate=CERTIFICATE)).write()
    assert json.loads((tmp_path / "status.json").read_text()) == {
        "runtime_id": "r",
        "agent_version": "1.2.3",
        "started_at": "2029-12-31T00:00:00Z",
        "state": "WAITING",
        "revision": None,
        "content_sha256": None,
        "applied_at": None,
        "connected": False,
        "failure": None,
        "certificate": {"serial": "0a1b", "not_after": "2030-01-01T00:00:00Z"},
        "counts": {
            "renewals": 0,
            "calls_ok": 0,
            "calls_failed": 0,
            "attempts_failed": 0,
            "streams_opened": 0,
            "snapshots": 0,
            "deltas": 0,
        },
    }


async def test_many_changes_are_written_together_and_the_last_one_with_them(tmp_path: Path) -> None:
    status, written = Status("r", "1.2.3", STARTED), asyncio.Queue[int]()

    class Observed(StatusFile):
        def write(self) -> None:
            super().write()
            written.put_nowait(json.loads((tmp_path / "status.json").read_text())["revision"])

    file = Observed(tmp_path / "status.json", status)
    task = asyncio.create_task(file.run())
    status.revision = 1
    file.changed()
    assert await written.get() == 1
    for status.revision in range(2, 101):
        file.changed()
        await asyncio.sleep(0)
    assert await written.get() == 100
    task.cancel()
    await asyncio.wait((task,))
    assert written.empty()


def test_a_status_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    StatusFile(tmp_path / "missing" / "status.json", Status("r", "1.2.3", STARTED)).write()

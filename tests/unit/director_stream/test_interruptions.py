"""What becomes of streams while the hub, its database or what it reads fails, falls behind or ends."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy.exc import OperationalError

from director.stream.hub import Hub
from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.story import MakeReader, Story, up_to_date


@pytest.mark.check("stream-18")
async def test_a_stopping_hub_sends_its_readers_elsewhere_with_spread_out_waits(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    hub = await start_hub(retry_after=1.0)
    readers = [read(story.runtime, hub) for _ in range(5)]
    for reader in readers:
        reader.connect()
    await up_to_date(database, *readers)
    await hub.stop()
    waits = set()
    for reader in readers:
        await reader.until(lambda each: each.refusal is not None)
        assert reader.refusal is not None
        assert reader.refusal.reason == Reason.REASON_NOT_READY
        assert reader.refusal.retry_after is not None
        waits.add(reader.refusal.retry_after.total_seconds())
    assert len(waits) == 5
    assert all(0.5 <= wait <= 1.5 for wait in waits)
    late = read(story.runtime, hub)
    late.connect()
    await late.until(lambda each: each.refusal is not None)


class FailingReads:
    """Makes the reads of a database fail for as long as it is set."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = True
        self.failed_again = asyncio.Event()
        attempts = 0
        real = database.read

        async def read(*args: Any, **kwargs: Any) -> Any:
            nonlocal attempts
            if self.failing:
                attempts += 1
                if attempts > 1:
                    self.failed_again.set()
                raise OperationalError("SELECT", {}, Exception("disk I/O error"))
            return await real(*args, **kwargs)

        monkeypatch.setattr(database, "read", read)


async def test_streams_outlive_a_database_that_cannot_be_read(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await start_hub(jitter=lambda: 0.0)
    reader, newcomer = read(story.runtime, hub), read(story.other_runtime, hub)
    reader.connect()
    await up_to_date(database, reader)
    reads = FailingReads(database, monkeypatch)
    await database.write(plane.describe, story.application, description="while it fails")
    newcomer.connect()
    await reads.failed_again.wait()
    assert reader.connected
    assert newcomer.connected
    reads.failing = False
    await up_to_date(database, reader, newcomer)


@pytest.mark.check("stream-19")
async def test_a_stream_that_cannot_begin_is_refused_and_never_empty(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    FailingReads(database, monkeypatch)
    reader = read(story.runtime, await start_hub(open_deadline=0.05))
    reader.connect()
    await reader.until(lambda each: each.refusal is not None)
    assert reader.refusal is not None
    assert reader.refusal.reason == Reason.REASON_NOT_READY
    assert reader.messages == []


async def test_streams_for_which_there_is_no_room_are_refused_at_once_and_the_others_begin(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await start_hub(most_waiting=2, jitter=lambda: 0.0)
    reads = FailingReads(database, monkeypatch)
    waiting = [read(story.runtime, hub) for _ in range(2)]
    turned_away = [read(story.other_runtime, hub) for _ in range(2)]
    for reader in (*waiting, *turned_away):
        reader.connect()
    for reader in turned_away:
        await reader.until(lambda each: each.refusal is not None)
        assert reader.refusal is not None
        assert reader.refusal.reason == Reason.REASON_NOT_READY
        assert reader.messages == []
    assert all(reader.connected for reader in waiting)
    reads.failing = False
    await up_to_date(database, *waiting)
    for reader in turned_away:
        reader.connect()
    await up_to_date(database, *turned_away)


async def test_a_reader_that_no_longer_waits_makes_room(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await start_hub(most_waiting=1, jitter=lambda: 0.0)
    reads = FailingReads(database, monkeypatch)
    first, second = read(story.runtime, hub), read(story.runtime, hub)
    first.connect()
    await reads.failed_again.wait()
    await first.disconnect()
    second.connect()
    reads.failing = False
    await up_to_date(database, second)


async def test_the_log_is_followed_though_nobody_says_that_it_grew(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    reader = read(story.runtime, await start_hub(poll_interval=0.01))
    reader.connect()
    await up_to_date(database, reader)
    with database.engine.begin() as tx:  # as another instance would
        plane.describe(tx, story.application, description="from elsewhere")
    await up_to_date(database, reader)


async def test_a_hub_that_fell_behind_the_log_reads_everything_anew(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    hub = await start_hub()
    reader = read(story.runtime, hub)
    reader.connect()
    await up_to_date(database, reader)
    with database.engine.begin() as tx:
        plane.describe(tx, story.application, description="unseen")
        plane.leave(tx, story.group, runtime_ids=[story.runtime])
        plane.join(tx, story.other_group, runtime_ids=[story.runtime])
        plane.compact(tx, plane.head_of(tx))
    hub.wake()
    await up_to_date(database, reader)


async def test_a_fault_while_a_reading_is_taken_in_sends_the_readers_away_to_begin_anew(
    database: Database, story: Story, hub: Hub, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    with monkeypatch.context() as patched:
        patched.setattr("director.stream.view.Views.settle", lambda *_: 1 / 0)
        await database.write(plane.describe, story.application, description="new")
        await reader.until(lambda each: each.refusal is not None)
    assert reader.refusal is not None
    assert reader.refusal.reason == Reason.REASON_NOT_READY
    reader.connect(resume=True)
    await up_to_date(database, reader)

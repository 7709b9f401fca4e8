import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    RESET_REASON_COMPACTED,
    RESET_REASON_FOREIGN,
    RESET_REASON_UNSPECIFIED,
    ResumePoint,
)
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from director.stream.hub import Hub
from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.plane import PLANE_ID
from tests.unit.director_stream.reader import Reader

MakeReader = Callable[..., Reader]


class Story:
    """A group with a runtime and an application in it, and another such group."""

    def __init__(self, tx: Connection) -> None:
        self.group, self.other_group = plane.add_group(tx), plane.add_group(tx)
        self.runtime = plane.add_runtime(tx, self.group)
        self.other_runtime = plane.add_runtime(tx, self.other_group)
        self.application, self.other_application = plane.add_application(tx), plane.add_application(tx)
        plane.join(tx, self.group, application_ids=[self.application])
        plane.join(tx, self.other_group, application_ids=[self.other_application])


@pytest.fixture
async def story(database: Database) -> Story:
    return await database.write(Story)


async def up_to_date(database: Database, *readers: Reader) -> None:
    """Wait until these readers hold exactly what they are to see."""
    for reader in readers:
        view = await database.read(plane.view_of, reader.runtime_id)
        assert view is not None
        await reader.until(lambda each, view=view: each.plane_id != "" and each.view == view)  # type: ignore[misc]


@pytest.mark.check("stream-1")
async def test_a_stream_without_a_resume_point_begins_with_a_snapshot(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]
    assert reader.messages[0].reset == RESET_REASON_UNSPECIFIED
    assert reader.revision == await database.read(plane.head_of)
    assert set(reader.view) == {story.application}


async def test_a_runtime_that_sees_nothing_gets_an_empty_snapshot(database: Database, read: MakeReader) -> None:
    reader = read(await database.write(plane.add_runtime))
    reader.connect()
    await up_to_date(database, reader)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]
    assert reader.view == {}


@pytest.mark.check("stream-2")
async def test_a_change_reaches_only_those_who_can_see_it(database: Database, story: Story, read: MakeReader) -> None:
    concerned, unconcerned = read(story.runtime), read(story.other_runtime)
    concerned.connect()
    unconcerned.connect()
    await up_to_date(database, concerned, unconcerned)
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, concerned)
    assert concerned.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_DELTA]
    assert unconcerned.kinds == [CONFIGURATION_KIND_SNAPSHOT]


@pytest.mark.check("stream-3")
async def test_of_many_fast_changes_the_last_one_always_arrives(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    for i in range(100):
        await database.write(plane.describe, story.application, description=str(i))
    await up_to_date(database, reader)
    assert reader.revision == await database.read(plane.head_of)


@pytest.mark.check("stream-4")
async def test_a_reader_that_paused_gets_the_latest_state_and_not_the_history(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader, witness = read(story.runtime), read(story.runtime)
    reader.connect()
    witness.connect()
    await up_to_date(database, reader, witness)
    reader.reading.clear()
    await database.write(plane.describe, story.application, description="taken in before the pause")
    await reader.until(lambda each: len(each.messages) == 2)
    for i in range(20):
        await database.write(plane.describe, story.application, description=str(i))
        await up_to_date(database, witness)
    assert len(reader.messages) == 2
    reader.reading.set()
    await up_to_date(database, reader)
    assert len(reader.messages) == 3


@pytest.mark.check("stream-5")
async def test_one_change_of_several_applications_is_never_seen_in_part(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    more = [await database.write(plane.add_application) for _ in range(5)]
    await database.write(plane.join, story.group, application_ids=more)
    reader = read(story.runtime, await start_hub(chunk_bytes=100))
    reader.connect()
    await up_to_date(database, reader)
    reader.messages.clear()
    await database.write(plane.describe, *more, description="together")
    await up_to_date(database, reader)
    assert len(reader.messages) == 5
    assert [message.partial for message in reader.messages] == [True] * 4 + [False]
    assert {message.revision for message in reader.messages} == {reader.revision}


@pytest.mark.check("stream-6")
async def test_a_resumed_stream_brings_only_what_changed_since(
    database: Database, story: Story, read: MakeReader
) -> None:
    kept, dropped = [await database.write(plane.add_application) for _ in range(2)]
    await database.write(plane.join, story.group, application_ids=[kept, dropped])
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await reader.disconnect()
    await database.write(plane.add_api, story.application)
    await database.write(plane.leave, story.group, application_ids=[dropped])
    reader.connect(resume=True)
    await up_to_date(database, reader)
    assert reader.kinds == [CONFIGURATION_KIND_DELTA]
    assert [each.application_id for each in reader.messages[0].applications] == [story.application]
    assert list(reader.messages[0].removed_application_ids) == [dropped]


@pytest.mark.check("stream-6")
async def test_a_resumed_stream_brings_a_bookmark_at_once_when_nothing_changed(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await reader.disconnect()
    await database.write(plane.describe, story.other_application, description="of no concern")
    reader.connect(resume=True)
    await reader.until(lambda each: each.messages != [])
    assert reader.kinds == [CONFIGURATION_KIND_BOOKMARK]
    assert reader.revision == await database.read(plane.head_of)
    await reader.disconnect()
    reader.connect(resume=True)
    await reader.until(lambda each: each.messages != [])
    assert reader.kinds == [CONFIGURATION_KIND_BOOKMARK]


async def test_what_left_the_view_and_came_back_while_the_reader_was_away_is_not_sent_again(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await reader.disconnect()
    await database.write(plane.leave, story.group, application_ids=[story.application])
    await database.write(plane.join, story.group, application_ids=[story.application])
    reader.connect(resume=True)
    await reader.until(lambda each: each.messages != [])
    assert reader.kinds == [CONFIGURATION_KIND_BOOKMARK]


@pytest.mark.check("stream-7")
async def test_a_resume_point_older_than_the_log_is_answered_by_a_snapshot(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await reader.disconnect()
    await database.write(plane.describe, story.application, description="new")
    await database.write(lambda tx: plane.compact(tx, plane.head_of(tx)))
    reader.connect(resume=True)
    await up_to_date(database, reader)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]
    assert reader.messages[0].reset == RESET_REASON_COMPACTED


@pytest.mark.check("stream-8")
@pytest.mark.parametrize(
    "point", [ResumePoint(plane_id=PLANE_ID, revision=10**6), ResumePoint(plane_id=plane.new_id())]
)
async def test_a_resume_point_of_the_future_or_of_another_plane_is_answered_by_a_snapshot(
    database: Database, story: Story, read: MakeReader, point: ResumePoint
) -> None:
    reader = read(story.runtime)
    reader.connect(point=point)
    await up_to_date(database, reader)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]
    assert reader.messages[0].reset == RESET_REASON_FOREIGN


@pytest.mark.check("stream-9")
async def test_what_was_deleted_while_the_reader_was_away_is_removed_by_name(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await reader.disconnect()
    await database.write(plane.delete_application, story.application)
    reader.connect(resume=True)
    await up_to_date(database, reader)
    assert list(reader.messages[0].removed_application_ids) == [story.application]


@pytest.mark.check("stream-10")
async def test_bookmarks_move_the_resume_point_of_an_idle_stream(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    reader = read(story.runtime, await start_hub(bookmark_interval=0.02))
    reader.connect()
    await up_to_date(database, reader)
    await database.write(plane.describe, story.other_application, description="of no concern")
    head = await database.read(plane.head_of)
    await reader.until(lambda each: each.revision == head)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_BOOKMARK]
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, reader)


async def test_no_bookmark_comes_while_the_plane_stands_still(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    waits, several = 0, asyncio.Event()

    def jitter() -> float:
        nonlocal waits
        waits += 1
        if waits > 5:
            several.set()
        return 0.5

    reader = read(story.runtime, await start_hub(bookmark_interval=0.005, jitter=jitter))
    reader.connect()
    await several.wait()
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]


@pytest.mark.check("stream-21")
async def test_more_than_fits_one_message_arrives_whole(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    more = [await database.write(plane.add_application) for _ in range(20)]
    await database.write(plane.join, story.group, application_ids=more)
    reader = read(story.runtime, await start_hub(chunk_bytes=300))
    reader.connect()
    await up_to_date(database, reader)
    assert set(reader.view) == {story.application, *more}
    assert len(reader.messages) > 5
    assert {message.kind for message in reader.messages} == {CONFIGURATION_KIND_SNAPSHOT}
    assert max(message.ByteSize() for message in reader.messages) < 400


async def test_two_readers_of_one_runtime_are_both_served(database: Database, story: Story, read: MakeReader) -> None:
    one, two = read(story.runtime), read(story.runtime)
    one.connect()
    two.connect()
    await up_to_date(database, one, two)
    await one.disconnect()
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, two)
    one.connect(resume=True)
    await up_to_date(database, one)


async def test_runtimes_of_the_same_groups_go_on_when_one_of_them_goes(
    database: Database, story: Story, read: MakeReader
) -> None:
    leaver, stayer = read(story.runtime), read(await database.write(plane.add_runtime, story.group))
    newcomer = read(await database.write(plane.add_runtime, story.group))
    leaver.connect()
    stayer.connect()
    await up_to_date(database, leaver, stayer)
    await leaver.disconnect()
    newcomer.connect()
    await up_to_date(database, newcomer)
    await database.write(plane.describe, story.application, description="after it left")
    await up_to_date(database, stayer, newcomer)


async def test_a_runtime_that_changes_groups_gets_the_difference_between_their_views(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)

    def regroup(tx: Connection) -> None:
        plane.leave(tx, story.group, runtime_ids=[story.runtime])
        plane.join(tx, story.other_group, runtime_ids=[story.runtime])

    await database.write(regroup)
    await up_to_date(database, reader)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_DELTA]
    assert [each.application_id for each in reader.messages[1].applications] == [story.other_application]
    assert list(reader.messages[1].removed_application_ids) == [story.application]


async def test_a_runtime_that_moves_takes_what_only_it_was_streamed_along(
    database: Database, story: Story, read: MakeReader
) -> None:
    mover, follower = read(story.runtime), read(story.other_runtime)
    mover.connect()
    await up_to_date(database, mover)

    def swap(tx: Connection) -> None:
        plane.leave(tx, story.group, application_ids=[story.application])
        plane.join(tx, story.other_group, application_ids=[story.application])
        plane.leave(tx, story.group, runtime_ids=[story.runtime])
        plane.join(tx, story.other_group, runtime_ids=[story.runtime])

    follower.connect()
    await database.write(swap)
    await up_to_date(database, mover, follower)


async def test_a_deleted_group_takes_its_applications_from_its_runtimes(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await database.write(plane.delete_group, story.group)
    await up_to_date(database, reader)
    assert list(reader.messages[1].removed_application_ids) == [story.application]


async def test_the_stream_of_a_deleted_runtime_ends(database: Database, story: Story, read: MakeReader) -> None:
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    await database.write(plane.delete_runtime, story.runtime)
    await reader.until(lambda each: each.refusal is not None)
    assert reader.refusal is not None
    assert reader.refusal.reason == Reason.REASON_RUNTIME_NOT_FOUND


async def test_there_is_no_stream_for_an_unknown_runtime(hub: Hub, read: MakeReader) -> None:
    reader = read(plane.new_id())
    reader.connect()
    await reader.until(lambda each: each.refusal is not None)
    assert reader.refusal is not None
    assert reader.refusal.reason == Reason.REASON_RUNTIME_NOT_FOUND
    assert reader.messages == []


async def test_a_mere_update_of_a_runtime_sends_nothing(database: Database, story: Story, read: MakeReader) -> None:
    reader, witness = read(story.runtime), read(story.other_runtime)
    reader.connect()
    witness.connect()
    await up_to_date(database, reader, witness)
    await database.write(plane.rename_runtime, story.runtime)
    await database.write(plane.describe, story.other_application, description="after it")
    await up_to_date(database, witness)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]


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

"""What a stream brings to whom, while the plane changes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    RESET_REASON_UNSPECIFIED,
)
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection

from director.stream.hub import Hub
from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.story import MakeReader, Story, up_to_date


@pytest.mark.check("stream-01")
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


@pytest.mark.check("stream-02")
async def test_a_change_reaches_only_those_who_can_see_it(database: Database, story: Story, read: MakeReader) -> None:
    concerned, unconcerned = read(story.runtime), read(story.other_runtime)
    concerned.connect()
    unconcerned.connect()
    await up_to_date(database, concerned, unconcerned)
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, concerned)
    assert concerned.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_DELTA]
    assert unconcerned.kinds == [CONFIGURATION_KIND_SNAPSHOT]


@pytest.mark.check("stream-03")
async def test_of_many_fast_changes_the_last_one_always_arrives(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = read(story.runtime)
    reader.connect()
    for i in range(100):
        await database.write(plane.describe, story.application, description=str(i))
    await up_to_date(database, reader)
    assert reader.revision == await database.read(plane.head_of)


@pytest.mark.check("stream-04")
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


@pytest.mark.check("stream-05")
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


async def test_who_comes_right_after_others_waits_for_the_next_reading_which_a_change_begins_at_once(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    hub = await start_hub(arrivals_apart=3600.0)
    first, second = read(story.runtime, hub), read(story.other_runtime, hub)
    first.connect()
    await up_to_date(database, first)
    second.connect()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await up_to_date(database, second)
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, first, second)


async def test_whoever_comes_is_waited_for_no_longer_than_asked(hub: Hub) -> None:
    begin = asyncio.get_running_loop().time()
    await hub.settled(0.05)
    assert asyncio.get_running_loop().time() - begin >= 0.05

"""A Runtime hears on its own stream, and nobody else on theirs, that a credential of its own changed."""

from collections.abc import Callable
from typing import Any

import pytest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
)
from sqlalchemy import Connection

from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.plane import PLANE_ID
from tests.unit.director_stream.reader import Reader

MakeReader = Callable[..., Reader]


class Story:
    """Two Runtimes that are served the same Application."""

    def __init__(self, tx: Connection) -> None:
        self.group = plane.add_group(tx)
        self.runtime, self.other_runtime = plane.add_runtime(tx, self.group), plane.add_runtime(tx, self.group)
        self.application = plane.add_application(tx)
        plane.join(tx, self.group, application_ids=[self.application])


@pytest.fixture
async def story(database: Database) -> Story:
    return await database.write(Story)


async def connected(reader: Reader) -> Reader:
    reader.connect()
    await reader.until(lambda each: each.plane_id != "")
    return reader


async def knows(reader: Reader, revision: int) -> None:
    await reader.until(lambda each: each.credentials_revision == revision)


async def test_a_change_of_its_own_credential_is_told_to_that_runtime_alone(
    database: Database, story: Story, read: MakeReader
) -> None:
    concerned, other = await connected(read(story.runtime)), await connected(read(story.other_runtime))
    changed = await database.write(plane.change_credential, story.runtime)
    await knows(concerned, changed)
    assert concerned.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_BOOKMARK]
    assert concerned.revision == changed
    await database.write(plane.describe, story.application, description="new")
    await other.until(lambda each: len(each.messages) == 2)
    assert other.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_DELTA]
    assert other.credentials_revision == 0


async def test_every_stream_of_the_runtime_is_told_once(database: Database, story: Story, read: MakeReader) -> None:
    one, two = await connected(read(story.runtime)), await connected(read(story.runtime))
    for _ in range(2):
        changed = await database.write(plane.change_credential, story.runtime)
        await knows(one, changed)
        await knows(two, changed)
    assert [message.credentials_revision for message in one.messages].count(changed) == 1


async def test_a_snapshot_tells_when_a_credential_of_its_own_last_changed(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    more = [await database.write(plane.add_application) for _ in range(5)]
    await database.write(plane.join, story.group, application_ids=more)
    changed = await database.write(plane.change_credential, story.runtime)
    reader = await connected(read(story.runtime, await start_hub(chunk_bytes=100)))
    assert reader.credentials_revision == changed
    assert [message.credentials_revision for message in reader.messages] == [0] * 5 + [changed]


async def test_one_who_resumes_is_told_what_changed_while_it_was_away(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = await connected(read(story.runtime))
    await reader.disconnect()
    changed = await database.write(plane.change_credential, story.runtime)
    reader.connect(resume=True)
    await knows(reader, changed)
    assert reader.kinds == [CONFIGURATION_KIND_BOOKMARK]


async def test_one_who_resumes_is_not_told_what_it_has(database: Database, story: Story, read: MakeReader) -> None:
    reader = await connected(read(story.runtime))
    await knows(reader, await database.write(plane.change_credential, story.runtime))
    await reader.disconnect()
    reader.connect(resume=True)
    await reader.until(lambda each: each.messages != [])
    assert reader.messages[0].credentials_revision == 0


async def test_one_who_lost_its_credentials_is_told_at_the_revision_that_it_resumes_from(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader = await connected(read(story.runtime))
    changed = await database.write(plane.change_credential, story.runtime)
    await knows(reader, changed)
    await reader.disconnect()
    reader.credentials_revision = 0
    reader.connect(resume=True)
    await knows(reader, changed)
    assert reader.kinds == [CONFIGURATION_KIND_BOOKMARK]


async def test_one_of_another_plane_is_told_though_it_has_later_credentials(
    database: Database, story: Story, read: MakeReader
) -> None:
    changed = await database.write(plane.change_credential, story.runtime)
    reader = read(story.runtime)
    reader.plane_id, reader.revision, reader.credentials_revision = PLANE_ID, 10**6, 10**6
    reader.connect(resume=True)
    await knows(reader, changed)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]


async def test_both_a_changed_application_and_a_changed_credential_come_to_a_reader_that_paused(
    database: Database, story: Story, read: MakeReader
) -> None:
    reader, witness = await connected(read(story.runtime)), await connected(read(story.runtime))
    reader.reading.clear()
    await database.write(plane.describe, story.application, description="taken in before the pause")
    await reader.until(lambda each: len(each.messages) == 2)
    await database.write(plane.describe, story.application, description="new")
    changed = await database.write(plane.change_credential, story.runtime)
    await knows(witness, changed)
    reader.reading.set()
    await knows(reader, changed)
    assert len(reader.messages) == 3
    assert reader.messages[2].applications[0].description == "new"


async def test_a_hub_that_fell_behind_the_log_tells_what_it_missed(
    database: Database, story: Story, start_hub: Callable[..., Any], read: MakeReader
) -> None:
    hub = await start_hub()
    reader = await connected(read(story.runtime, hub))
    with database.engine.begin() as tx:  # as another instance would
        changed = plane.change_credential(tx, story.runtime)
        plane.describe(tx, story.application, description="new")
        plane.compact(tx, plane.head_of(tx))
    hub.wake()
    await knows(reader, changed)

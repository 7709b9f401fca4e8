"""What a stream brings first to a reader that was away."""

import pytest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    RESET_REASON_COMPACTED,
    RESET_REASON_FOREIGN,
    ResumePoint,
)

from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.plane import PLANE_ID
from tests.unit.director_stream.story import MakeReader, Story, up_to_date


@pytest.mark.check("stream-06")
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


@pytest.mark.check("stream-06")
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


@pytest.mark.check("stream-07")
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


@pytest.mark.check("stream-08")
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


@pytest.mark.check("stream-09")
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

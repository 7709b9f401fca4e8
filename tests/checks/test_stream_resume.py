"""Streaming, for a reader that was away or idle: what it is sent when it is back. One Director serves all tests."""

import pytest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    RESET_REASON_COMPACTED,
    RESET_REASON_FOREIGN,
    ResumePoint,
)

from tests.integration.director_registry.process import DirectorProcess
from tests.support.configurations import OTHER_PLANE
from tests.support.stream_plane import PATIENCE, Reader, StreamPlane, compact

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

DIRECTOR = {"bookmark_interval": "0.5"}


async def was_away(registry: StreamPlane, group: str) -> Reader:
    """A reader that has what its Runtime, of that group, sees, and no stream any more."""
    reader = await registry.connected(await registry.runtime(group))
    await reader.disconnect()
    return reader


async def back(reader: Reader, point: ResumePoint | None = None) -> Reader:
    """The same, once its next stream has begun with a whole revision."""
    reader.connect(resume=point is None, point=point)
    await reader.until(lambda each: bool(each.messages) and not each.messages[-1].partial, PATIENCE)
    return reader


@pytest.mark.check("stream-06")
async def test_who_reconnects_with_the_last_revision_is_sent_only_what_changed_since(registry: StreamPlane) -> None:
    group = await registry.group()
    changed, gone, kept = [await registry.application(group) for _ in range(3)]
    reader = await was_away(registry, group)
    await registry.describe(changed, "once")
    await registry.describe(changed, "twice")
    await registry.leave(group, applications=[gone])
    new = await registry.application(group)

    await back(reader)

    (delta,) = reader.messages
    assert delta.kind == CONFIGURATION_KIND_DELTA
    assert {each.application_id for each in delta.applications} == {changed, new}
    assert list(delta.removed_application_ids) == [gone]
    assert set(reader.view) == {changed, kept, new}
    assert reader.view[changed].description == "twice"


@pytest.mark.check("stream-06")
async def test_who_reconnects_when_nothing_changed_is_sent_nothing_but_where_the_log_is(registry: StreamPlane) -> None:
    group = await registry.group()
    await registry.application(group)
    reader = await was_away(registry, group)
    elsewhere = await registry.application(await registry.group())
    head = await registry.describe(elsewhere, "of no concern")

    await back(reader)

    (bookmark,) = reader.messages
    assert bookmark.kind == CONFIGURATION_KIND_BOOKMARK
    assert not bookmark.applications
    assert reader.revision >= head


@pytest.mark.check("stream-07")
async def test_who_reconnects_with_a_revision_older_than_the_log_is_told_so_and_sent_a_snapshot(
    registry: StreamPlane, director: DirectorProcess
) -> None:
    group = await registry.group()
    gone, kept = [await registry.application(group) for _ in range(2)]
    reader, witness = await was_away(registry, group), await registry.connected(await registry.runtime(group))
    await registry.delete_application(gone)
    await registry.describe(kept, "meanwhile")
    assert compact(director.settings["database"])

    await back(reader)

    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]
    assert reader.messages[0].reset == RESET_REASON_COMPACTED
    assert set(reader.view) == {kept}
    await registry.describe(kept, "afterwards")
    await registry.up_to_date(reader, witness)
    assert witness.kinds.count(CONFIGURATION_KIND_SNAPSHOT) == 1  # who was there all the time noticed nothing


@pytest.mark.check("stream-08")
@pytest.mark.parametrize("which", ["of the future", "of another plane"])
async def test_a_revision_that_this_plane_never_had_is_answered_by_a_snapshot_and_nothing_older(
    registry: StreamPlane, which: str
) -> None:
    group = await registry.group()
    application = await registry.application(group)
    for number in range(5):
        await registry.describe(application, str(number))
    reader = await was_away(registry, group)
    head = reader.revision
    ahead = ResumePoint(plane_id=reader.plane_id, revision=head + 10**6)
    foreign = ResumePoint(plane_id=OTHER_PLANE, revision=1)

    await back(reader, ahead if which == "of the future" else foreign)
    after = await registry.describe(application, "after it")
    await reader.until(lambda each: each.revision >= after, PATIENCE)

    first, *later = reader.messages
    assert (first.kind, first.reset) == (CONFIGURATION_KIND_SNAPSHOT, RESET_REASON_FOREIGN)
    assert first.revision >= head
    assert [message.revision for message in later if message.kind == CONFIGURATION_KIND_DELTA] == [after]


@pytest.mark.check("stream-09")
async def test_what_was_deleted_while_a_reader_was_away_is_removed_by_name(registry: StreamPlane) -> None:
    group = await registry.group()
    deleted, kept = [await registry.application(group) for _ in range(2)]
    reader = await was_away(registry, group)
    await registry.delete_application(deleted)

    await back(reader)

    assert reader.kinds == [CONFIGURATION_KIND_DELTA]
    assert list(reader.messages[0].removed_application_ids) == [deleted]
    assert set(reader.view) == {kept}


@pytest.mark.check("stream-09")
async def test_what_was_deleted_while_an_agent_was_killed_is_gone_from_what_it_shows(registry: StreamPlane) -> None:
    group = await registry.group()
    deleted, kept = [await registry.application(group) for _ in range(2)]
    runtime = await registry.runtime(group)
    agent = await registry.agent(runtime)
    await registry.applied(agent, runtime)
    await agent.kill()
    await registry.delete_application(deleted)

    await registry.start(agent)
    status = await registry.applied(agent, runtime, connected=True)

    current = agent.home / "configuration" / "current"
    assert {each.stem for each in current.glob("*-*.json")} == {kept}
    assert (status["counts"]["snapshots"], status["counts"]["deltas"]) == (0, 1)


@pytest.mark.check("stream-10")
async def test_bookmarks_move_the_resume_point_of_an_idle_stream_and_nothing_older_comes_after_one(
    registry: StreamPlane, director: DirectorProcess
) -> None:
    group = await registry.group()
    application = await registry.application(group)
    elsewhere = await registry.application(await registry.group())
    idle = await registry.connected(await registry.runtime(group))
    for text in ("one", "two"):
        head = await registry.describe(elsewhere, text)
        await idle.until(lambda each, head=head: each.revision >= head, PATIENCE)  # type: ignore[misc]
    assert set(idle.kinds[1:]) == {CONFIGURATION_KIND_BOOKMARK}

    await idle.disconnect()
    assert compact(director.settings["database"])  # all that it never had to see
    await back(idle)
    assert idle.kinds == [CONFIGURATION_KIND_BOOKMARK]

    changed = await registry.describe(application, "new")
    await idle.until(lambda each: each.revision >= changed, PATIENCE)
    revisions = [message.revision for message in idle.messages]
    assert revisions == sorted(set(revisions))
    assert [each.revision for each in idle.messages if each.kind == CONFIGURATION_KIND_DELTA] == [changed]

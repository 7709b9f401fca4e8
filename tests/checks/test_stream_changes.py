"""Streaming, while the plane changes: what a real Director sends to whom. One Director serves all tests here."""

import asyncio
from collections import Counter

import pytest
import pytest_asyncio
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    REPORT_STATE_APPLIED,
    REPORT_STATE_FAILED,
    ReportConfigurationRequest,
    ResourceFailure,
)
from moorage.director.v1.group_pb2 import BatchUpdateGroupMembersRequest, DeleteGroupRequest, GroupMembersChange
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from tests.support.stream_plane import PATIENCE, StreamPlane

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

FAST_CHANGES = 100
SEVERAL = 12
"""Applications that one change is about."""

LARGE_APIS = 100
"""APIs of an Application with descriptions of a thousand characters each."""

LARGE_APPLICATIONS = 12
MESSAGE = 1024 * 1024
"""About the most bytes that one message has."""


@pytest.mark.check("stream-01")
async def test_a_fresh_connection_begins_with_a_snapshot_of_all_that_the_runtime_sees(registry: StreamPlane) -> None:
    shared, own = await registry.group(), await registry.group()
    seen = {await registry.application(shared), await registry.application(own)}
    await registry.application(await registry.group())
    runtime = await registry.runtime(shared, own)

    reader = await registry.connected(runtime)

    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT]
    assert set(reader.view) == seen
    assert reader.revision >= (await registry.told_of(runtime)).revision


@pytest.mark.check("stream-02")
async def test_a_change_in_one_group_reaches_its_runtimes_and_nobody_else(registry: StreamPlane) -> None:
    groups = [await registry.group() for _ in range(3)]
    applications = [await registry.application(group) for group in groups]
    concerned = [await registry.connected(await registry.runtime(groups[0])) for _ in range(3)]
    others = [await registry.connected(await registry.runtime(group)) for group in groups[1:] for _ in range(3)]

    await registry.describe(applications[0], "new")
    await registry.api(applications[0])
    added = await registry.application(groups[0])
    await registry.leave(groups[0], applications=[added])
    await registry.up_to_date(*concerned)
    assert all(CONFIGURATION_KIND_DELTA in each.kinds for each in concerned)
    for group, application in zip(groups[1:], applications[1:], strict=True):
        await registry.describe(application, f"the end for {group}")
    await registry.up_to_date(*others)

    for each in others:
        assert each.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_DELTA]
        assert [changed.description for changed in each.messages[1].applications] == [
            changed.description for changed in each.view.values()
        ]


@pytest.mark.check("stream-03")
async def test_of_a_hundred_fast_changes_none_comes_twice_and_the_last_always_arrives(registry: StreamPlane) -> None:
    group = await registry.group()
    application = await registry.application(group)
    reader = await registry.connected(await registry.runtime(group))

    changes = (registry.describe(application, str(number)) for number in range(FAST_CHANGES))
    last = max(await asyncio.gather(*changes))
    await reader.until(lambda each: each.revision >= last, PATIENCE)

    revisions = [message.revision for message in reader.messages]
    assert revisions == sorted(set(revisions))
    assert revisions[-1] == last
    assert reader.view == (await registry.afresh(reader.runtime_id)).view


@pytest.mark.check("stream-05")
async def test_one_change_of_several_resources_is_never_seen_in_part(registry: StreamPlane) -> None:
    """The reader holds a revision only once it is whole; at each one it has all of the Applications or none."""
    group, other = await registry.group(), await registry.group()
    several = [await registry.application() for _ in range(SEVERAL)]
    reader = await registry.connected(await registry.runtime(group, other))

    await registry.join(group, applications=several)
    await registry.up_to_date(reader)
    moved = [
        GroupMembersChange(group_id=group, remove_application_ids=several),
        GroupMembersChange(group_id=other, add_application_ids=several[: SEVERAL // 2]),
    ]
    await registry.call("BatchUpdateGroupMembers", BatchUpdateGroupMembersRequest(changes=moved))
    await registry.up_to_date(reader)
    await registry.call("DeleteGroup", DeleteGroupRequest(group_id=other, force=True))
    await registry.up_to_date(reader)

    joined, half, deleted = reader.messages[1:]
    assert {each.application_id for each in joined.applications} == set(several)
    assert set(half.removed_application_ids) == set(several[SEVERAL // 2 :])
    assert not half.applications
    assert set(deleted.removed_application_ids) == set(several[: SEVERAL // 2])


@pytest.mark.check("stream-05", "stream-21")
async def test_one_change_of_more_than_a_message_holds_is_never_applied_in_part(
    registry: StreamPlane, large: list[str]
) -> None:
    """Whenever one looks, the agent shows all of the Applications or none of them."""
    group = await registry.group()
    runtime = await registry.runtime(group)
    agent = await registry.agent(runtime)
    await registry.applied(agent, runtime)
    shown = agent.home / "configuration" / "current"
    seen: Counter[int] = Counter()

    async def look() -> None:
        while True:
            seen[len({each.name for each in shown.resolve().glob("*-*.json")})] += 1
            await asyncio.sleep(0.001)

    looking = asyncio.create_task(look())
    try:
        for _ in range(2):
            await registry.join(group, applications=large)
            await registry.applied(agent, runtime)
            await registry.leave(group, applications=large)
            await registry.applied(agent, runtime)
    finally:
        looking.cancel()
        await asyncio.wait((looking,))

    assert set(seen) == {0, len(large)}


@pytest.mark.check("stream-12")
async def test_a_report_about_a_superseded_revision_does_not_overwrite_a_newer_one(registry: StreamPlane) -> None:
    group = await registry.group()
    application = await registry.application(group)
    runtime = await registry.runtime(group)
    identity, reader = registry.identity(runtime), await registry.connected(runtime)
    old = ReportConfigurationRequest(
        runtime_id=runtime,
        revision=reader.revision,
        state=REPORT_STATE_FAILED,
        failures=[ResourceFailure(message="too late")],
    )
    await registry.describe(application, "newer")
    await registry.up_to_date(reader)
    newer = ReportConfigurationRequest(
        runtime_id=runtime, revision=reader.revision, state=REPORT_STATE_APPLIED, content_sha256=reader.content_sha256
    )
    assert (await registry.call("ReportConfiguration", newer, identity)).accepted
    before = await registry.told_of(runtime)

    assert not (await registry.call("ReportConfiguration", old, identity)).accepted

    after = await registry.told_of(runtime)
    assert (after.state, after.status) == (RuntimeState.RUNTIME_STATE_READY, before.status)
    assert (after.status.revision, after.status.content_sha256) == (reader.revision, reader.content_sha256)


@pytest.mark.check("stream-21")
async def test_more_than_fits_one_message_arrives_whole_and_is_applied_as_one(
    registry: StreamPlane, large: list[str]
) -> None:
    group = await registry.group(applications=large)
    runtime = await registry.runtime(group)

    reader = await registry.connected(runtime)
    agent = await registry.agent(runtime)
    status = await registry.applied(agent, runtime, connected=True)

    assert len(reader.view) == LARGE_APPLICATIONS
    assert [message.partial for message in reader.messages] == [True] * (len(reader.messages) - 1) + [False]
    assert len(reader.messages) > 1
    assert max(message.ByteSize() for message in reader.messages) < 1.1 * MESSAGE
    assert len({message.revision for message in reader.messages}) == 1
    assert (status["revision"], status["counts"]["snapshots"]) == (reader.revision, 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def large(registry: StreamPlane) -> list[str]:
    """Applications that are more than one message in all."""
    applications = [await registry.application() for _ in range(LARGE_APPLICATIONS)]
    text = "a" * 1000
    for each in applications:
        await asyncio.gather(*(registry.api(each, text) for _ in range(LARGE_APIS)))
    return applications

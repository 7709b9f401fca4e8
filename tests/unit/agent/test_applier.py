"""Applying: all or nothing, the latest only, and every revision's fate told."""

import asyncio
import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from moorage.director.v1.configuration_pb2 import (
    REPORT_STATE_APPLIED,
    REPORT_STATE_APPLYING,
    REPORT_STATE_FAILED,
    ResourceFailure,
)

from agent.applier import Applier
from agent.cache import Cache
from agent.disk import Disk
from agent.hook import Hook
from agent.outcome import Outcome
from mesh.backoff import Backoff
from tests.support.configurations import application, application_id_of, configuration
from tests.unit.agent.disks import FailingDisk, shown
from tests.unit.agent.scene import AT, opened_credentials, scene
from tests.unit.agent.vault import Vault


@pytest.mark.check("stream-01")
async def test_a_configuration_is_reported_as_applying_while_the_hook_runs_and_then_as_applied(tmp_path: Path) -> None:
    new = configuration(3, application(1))
    async with scene(tmp_path) as at:
        at.applier.offer(new)
        assert await at.outcomes.get() == Outcome(REPORT_STATE_APPLYING, 3, "")
        assert await at.outcomes.get() == Outcome(REPORT_STATE_APPLIED, 3, new.content_sha256)
    assert shown(tmp_path) == new


async def test_without_a_hook_only_the_end_is_reported(tmp_path: Path) -> None:
    cache, outcomes = Cache(tmp_path, Disk()), asyncio.Queue[Outcome]()
    credentials = opened_credentials(tmp_path, Vault())
    applier = Applier(cache, cache.open(), credentials, Hook((), 0, {}), lambda: AT, outcomes.put_nowait)
    task = asyncio.create_task(applier.run())
    applier.offer(configuration(3, application(1)))
    assert (await outcomes.get()).state == REPORT_STATE_APPLIED
    task.cancel()
    await asyncio.wait((task,))


async def test_the_hook_finds_the_new_configuration_in_place(tmp_path: Path) -> None:
    new = configuration(3, application(1))
    async with scene(tmp_path) as at:
        at.hook.free.clear()
        at.applier.offer(new)
        await at.hook.entered.wait()
        assert shown(tmp_path) == new


@pytest.mark.check("stream-04")
async def test_of_several_configurations_that_wait_only_the_latest_is_applied(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.hook.free.clear()
        at.applier.offer(configuration(1, application(1)))
        await at.hook.entered.wait()
        for revision in range(2, 101):
            at.applier.offer(configuration(revision, application(1, version=revision)))
        at.hook.free.set()
        assert (await at.settled()).revision == 1
        assert (await at.settled()).revision == 100
        assert at.hook.ran == [1, 100]


@pytest.mark.check("stream-11")
async def test_a_configuration_that_the_hook_refuses_is_reported_and_the_last_good_one_stays(tmp_path: Path) -> None:
    good = configuration(1, application(1))
    async with scene(tmp_path) as at:
        at.hook.refused.add(2)
        await at.apply(good)
        outcome = await at.apply(configuration(2, application(1, version=2)))
        failure = ResourceFailure(message="the hook ended with status 3: no such listener")
        assert outcome == Outcome(REPORT_STATE_FAILED, 2, good.content_sha256, (failure,))
        assert shown(tmp_path) == good


async def test_where_the_first_configuration_is_refused_there_is_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.hook.refused.add(1)
        outcome = await at.apply(configuration(1, application(1)))
        assert (outcome.state, outcome.content_sha256) == (REPORT_STATE_FAILED, "")
        assert shown(tmp_path) is None


@pytest.mark.check("stream-11")
async def test_a_revision_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.hook.refused.add(1)
        failing = configuration(1, application(1))
        await at.apply(failing)
        for again in (failing, failing.moved(2), failing.moved(3)):
            at.applier.offer(again)
        mended = configuration(4, application(1, version=2))
        assert await at.apply(mended) == Outcome(REPORT_STATE_APPLIED, 4, mended.content_sha256)
        assert at.hook.ran == [1, 4]


async def test_the_hook_runs_for_the_last_good_content_when_it_comes_back_after_a_failure(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.hook.refused.add(2)
        await at.apply(configuration(1, application(1)))
        await at.apply(configuration(2, application(1, version=2)))
        outcome = await at.apply(configuration(3, application(1)))
        assert (outcome.state, outcome.revision) == (REPORT_STATE_APPLIED, 3)
        assert at.hook.ran == [1, 2, 3]


async def test_content_that_is_applied_already_is_reported_and_nothing_is_done(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await at.apply(configuration(1, application(1)))
        again = configuration(5, application(1))
        assert await at.apply(again) == Outcome(REPORT_STATE_APPLIED, 5, again.content_sha256)
        assert at.hook.ran == [1]
    reopened = Cache(tmp_path, Disk()).open()
    assert reopened is not None
    assert reopened.configuration.revision == 5


@pytest.mark.check("stream-10")
async def test_a_bookmark_is_kept_on_disk_and_not_reported(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = configuration(1, application(1))
        await at.apply(first)
        at.applier.offer(first.moved(9))
        outcome = await at.apply(configuration(10, application(1, version=2)))
        assert outcome.revision == 10
        assert at.outcomes.empty()


async def test_a_bookmark_overtakes_the_content_that_it_belongs_to(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.hook.free.clear()
        at.applier.offer(configuration(1, application(1)))
        await at.hook.entered.wait()
        second = configuration(2, application(1, version=2))
        at.applier.offer(second)
        at.applier.offer(second.moved(7))
        at.hook.free.set()
        await at.settled()
        assert await at.settled() == Outcome(REPORT_STATE_APPLIED, 7, second.content_sha256)


async def test_a_stop_in_the_middle_of_the_hook_takes_the_configuration_back(tmp_path: Path) -> None:
    good = configuration(1, application(1))
    async with scene(tmp_path) as at:
        await at.apply(good)
        at.hook.free.clear()
        at.hook.entered.clear()
        at.applier.offer(configuration(2, application(1, version=2)))
        await at.hook.entered.wait()
    assert shown(tmp_path) == good


async def test_an_application_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    class NoRoomForSecond(Disk):
        def write(self, path: Path, content: bytes) -> None:
            if path.name.startswith(application_id_of(2)):
                raise OSError(28, "No space left on device")
            super().write(path, content)

    async with scene(tmp_path, NoRoomForSecond()) as at:
        outcome = await at.apply(configuration(1, application(1), application(2)))
        [failure] = outcome.failures
        assert failure.application_id == application_id_of(2)
        assert "No space left on device" in failure.message


class FullDisk(Disk):
    """Takes no file while `full`."""

    def __init__(self) -> None:
        self.full = True
        self.tried = 0

    def write(self, path: Path, content: bytes) -> None:
        self.tried += 1
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(path, content)


SOON = timedelta(milliseconds=1)


async def test_what_the_disk_had_no_room_for_is_applied_once_it_has(tmp_path: Path) -> None:
    disk = FullDisk()
    async with scene(tmp_path, disk, Backoff(SOON, SOON)) as at:
        new = configuration(1, application(1))
        assert (await at.apply(new)).state == REPORT_STATE_FAILED
        assert (await at.settled()).state == REPORT_STATE_FAILED
        at.applier.offer(new.moved(7))
        disk.full = False
        while (outcome := await at.settled()).state == REPORT_STATE_FAILED:
            pass
        assert outcome.content_sha256 == new.content_sha256
        there = shown(tmp_path)
        assert there is not None
        assert there.content_sha256 == new.content_sha256
        tried = disk.tried
        assert (await at.apply(configuration(8, application(1), application(2)))).state == REPORT_STATE_APPLIED
        assert disk.tried == tried + 2  # the second application and the manifest: nothing was tried again meanwhile


async def test_what_comes_while_the_disk_is_full_is_tried_in_the_place_of_what_failed(tmp_path: Path) -> None:
    disk = FullDisk()
    hours = timedelta(hours=1)
    async with scene(tmp_path, disk, Backoff(hours, hours)) as at:
        await at.apply(configuration(1, application(1)))
        disk.full = False
        newer = configuration(2, application(1, version=2))
        assert await at.apply(newer) == Outcome(REPORT_STATE_APPLIED, 2, newer.content_sha256)
        assert at.hook.ran == [2]


OLDEST = configuration(1, application(1))
OLD = configuration(2, application(1), application(2))
NEW = configuration(3, application(1), application(2, version=2), application(3))
EVERY_FAILURE = list(itertools.product(range(1, 13), [False, True]))


@pytest.mark.check("stream-05")
@pytest.mark.parametrize(("at_operation", "after_doing"), EVERY_FAILURE)
async def test_a_disk_that_fails_once_never_shows_half_a_configuration(
    tmp_path: Path, at_operation: int, after_doing: bool
) -> None:
    disk = FailingDisk(tmp_path, at_operation, after_doing=after_doing)
    async with scene(tmp_path, disk) as at:
        await at.apply(OLDEST)
        await at.apply(OLD)
        disk.arm()
        outcome = await at.apply(NEW)
        assert shown(tmp_path) == (NEW if outcome.state == REPORT_STATE_APPLIED else OLD)
        disk.disarm()
        later = configuration(4, application(3, version=3))
        assert (await at.apply(later)).state == REPORT_STATE_APPLIED
        assert shown(tmp_path) == later
    assert disk.seen_since_armed <= {OLD.content_sha256, NEW.content_sha256}


@pytest.mark.check("stream-05")
@pytest.mark.parametrize(("at_operation", "after_doing"), EVERY_FAILURE)
async def test_a_crash_at_any_moment_leaves_the_old_configuration_or_the_new_one(
    tmp_path: Path, at_operation: int, after_doing: bool
) -> None:
    disk = FailingDisk(tmp_path, at_operation, after_doing=after_doing, for_good=True)
    async with scene(tmp_path, disk) as at:
        await at.apply(OLDEST)
        await at.apply(OLD)
        disk.arm()
        await at.apply(NEW)
    assert disk.seen_since_armed <= {OLD.content_sha256, NEW.content_sha256}
    async with scene(tmp_path) as at:
        restarted = at.applier.applied
        assert restarted is not None
        assert restarted.configuration in (OLD, NEW)
        assert shown(tmp_path) == restarted.configuration
        later = configuration(4, application(3, version=3))
        assert (await at.apply(later)).state == REPORT_STATE_APPLIED
        assert shown(tmp_path) == later

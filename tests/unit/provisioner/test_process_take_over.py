"""The process driver, with real processes: one agent a Runtime, though the Provisioner goes and comes back."""

import asyncio
import os
import signal
import uuid

import pytest

from tests.unit.provisioner.host import RUNTIME, Host, has_ended, of_process, runs


async def test_a_provisioner_that_comes_back_takes_over_the_workload_that_runs(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.resume([RUNTIME])
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
    assert await host.started() != pid


async def test_a_workload_taken_over_can_be_removed(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.resume([RUNTIME])
    await after.remove(RUNTIME)
    assert not runs(pid)


async def test_a_workload_that_was_never_taken_over_can_be_removed(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.remove(RUNTIME)
    assert not runs(pid)
    assert not host.folder.exists()


async def test_a_provisioner_that_comes_back_starts_the_workload_that_ended_meanwhile(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    os.kill(pid, signal.SIGKILL)
    await has_ended(pid)
    await after.resume([RUNTIME])
    assert await host.started() != pid


async def test_a_stranger_that_was_given_the_same_process_id_is_left_alone(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    line = of_process(stranger.pid, "stat").read_text().split()
    line[21] = str(int(line[21]) - 1)
    (host.folder / "agent.stat").write_text(" ".join(line))
    try:
        await driver.resume([RUNTIME])
        pid = await host.started()
        await driver.remove(RUNTIME)
        assert stranger.returncode is None
        assert not runs(pid)
    finally:
        stranger.kill()
        await stranger.wait()


@pytest.mark.parametrize("note", ["", "77 (python) S 1", f"{2**70} (x) S {' '.join('1' * 40)}"])
async def test_a_note_that_was_cut_short_is_like_none(host: Host, note: str) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    (host.folder / "agent.stat").write_text(note)
    await driver.resume([RUNTIME])
    await host.started()


async def test_a_workload_whose_plane_has_moved_is_started_again_with_the_new_addresses(host: Host) -> None:
    before, after = host.driver(), host.driver(director="127.0.0.1:17443")
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.resume([RUNTIME])
    assert await host.started() != pid
    assert not runs(pid)
    assert host.configuration()["director"] == "127.0.0.1:17443"


async def test_workloads_stop_with_the_provisioner_where_that_is_set(host: Host) -> None:
    driver = host.driver(stop_on_close=True)
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    pid = await host.started()
    await driver.close()
    assert not runs(pid)
    assert host.folder.exists()


async def test_one_workload_that_cannot_be_resumed_does_not_hold_up_the_others(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    lost = str(uuid.uuid4())
    await driver.resume([lost, RUNTIME])
    await host.started()
    assert driver.trouble(lost) == "it cannot be started: No such file or directory"
    await driver.stop(lost)

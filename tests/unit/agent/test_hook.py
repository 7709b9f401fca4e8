"""The operator's command: how it is run, and how each of its ends is taken."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agent.hook import MAX_REASON, Hook, HookFailed


def hook(script: str, timeout: float = 20.0) -> Hook:
    return Hook(("/bin/sh", "-c", script), timeout, {"PATH": "/usr/bin:/bin", "KEPT": "yes"})


async def failure(of: Hook, folder: Path) -> str:
    with pytest.raises(HookFailed) as failed:
        await of.run(7, folder)
    return str(failed.value)


async def test_no_command_takes_everything(tmp_path: Path) -> None:
    await Hook((), 1.0, {}).run(7, tmp_path)


async def test_the_command_finds_the_revision_and_the_configuration(tmp_path: Path) -> None:
    await hook('echo "$MOORAGE_REVISION $MOORAGE_CONFIGURATION $KEPT $(pwd)" > seen').run(7, tmp_path)
    assert (tmp_path / "seen").read_text() == f"7 {tmp_path} yes {tmp_path}\n"


async def test_the_words_of_the_command_are_not_read_by_a_shell(tmp_path: Path) -> None:
    await Hook(("/usr/bin/touch", "$HOME; x"), 20.0, {}).run(7, tmp_path)
    assert (tmp_path / "$HOME; x").exists()


@pytest.mark.check("stream-11")
async def test_a_status_other_than_zero_is_a_failure_with_the_last_words(tmp_path: Path) -> None:
    assert await failure(hook("echo fine; echo no such listener >&2; exit 3"), tmp_path) == (
        "the hook ended with status 3: no such listener"
    )


async def test_a_signal_is_a_failure(tmp_path: Path) -> None:
    assert await failure(hook("kill -SEGV $$"), tmp_path) == f"the hook was ended by signal {signal.SIGSEGV:d}"


async def test_only_the_end_of_a_long_story_is_told(tmp_path: Path) -> None:
    told = await failure(hook("yes long story | head -c 1000000 >&2; echo the end >&2; exit 1"), tmp_path)
    assert told.endswith("the end")
    assert len(told) < MAX_REASON + 100


async def test_words_that_no_terminal_can_show_are_told_without_them(tmp_path: Path) -> None:
    assert await failure(hook(r"printf 'a\033[2Jb\377' >&2; exit 1"), tmp_path) == (
        "the hook ended with status 1: a [2Jb\N{REPLACEMENT CHARACTER}"
    )


async def test_a_command_that_does_not_exist_is_a_failure(tmp_path: Path) -> None:
    assert "No such file" in await failure(Hook(("/no/such/command",), 1.0, {}), tmp_path)


async def test_at_its_deadline_the_command_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    script = "exec 3> alive; echo begun >&2; sleep 600 & sleep 600"
    running = asyncio.create_task(failure(hook(script, timeout=0.5), tmp_path))
    alive = await asyncio.to_thread((tmp_path / "alive").open, "rb")
    with alive:
        assert await running == "the hook took longer than 0.5 s: begun"
        # The end of the file: nobody has its other end open any more, neither the command nor its children.
        assert await asyncio.to_thread(alive.read) == b""


async def test_what_the_command_leaves_running_does_not_hold_the_agent_up(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > left"
    try:
        async with asyncio.timeout(10):
            await hook(script).run(7, tmp_path)
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)


async def test_a_command_is_killed_when_the_agent_stops(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    running = asyncio.create_task(hook("exec 3> alive; sleep 600").run(7, tmp_path))
    alive = await asyncio.to_thread((tmp_path / "alive").open, "rb")
    with alive:
        running.cancel()
        await asyncio.wait((running,))
        assert await asyncio.to_thread(alive.read) == b""

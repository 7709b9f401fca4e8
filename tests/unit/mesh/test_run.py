"""How a service's process starts and ends."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from mesh.exits import Exit

CHILD = Path(__file__).with_name("run_child.py")
DEADLINE = 30


class Ended(NamedTuple):
    status: int
    words: list[str]
    errors: str


async def run(scene: str, *, stop_after: str | None = None) -> Ended:
    """Run the scene to its end; SIGTERM is sent once it has said `stop_after`."""
    pipe = asyncio.subprocess.PIPE
    words: list[str] = []
    async with asyncio.timeout(DEADLINE):
        child = await asyncio.create_subprocess_exec(sys.executable, CHILD, scene, stdout=pipe, stderr=pipe)
        if stop_after is not None:
            assert child.stdout is not None
            words.append((await child.stdout.readline()).decode().strip())
            assert words == [stop_after]
            child.send_signal(signal.SIGTERM)
        output, errors = await child.communicate()
    assert child.returncode is not None
    return Ended(child.returncode, [*words, *output.decode().split()], errors.decode())


async def test_a_stop_undoes_what_the_start_left() -> None:
    ended = await run("well", stop_after="started")
    assert (ended.status, ended.words, ended.errors) == (Exit.OK, ["started", "undone"], "")


async def test_a_start_that_fails_midway_is_undone_and_is_one_line_and_a_code() -> None:
    ended = await run("fails_midway")
    assert (ended.status, ended.words) == (Exit.SERVICE_FAILED, ["undone"])
    assert ended.errors == "child: the service cannot use its database\n"


async def test_a_stop_during_the_start_undoes_also_what_the_start_leaves_as_it_is_cancelled() -> None:
    ended = await run("slow", stop_after="starting")
    assert (ended.status, ended.words, ended.errors) == (Exit.OK, ["starting", "undone"], "")


async def test_what_does_not_stop_in_time_is_left_and_the_rest_is_undone() -> None:
    ended = await run("stays", stop_after="started")
    assert (ended.status, ended.words) == (Exit.OK, ["started", "undone"])
    assert "it did not stop in time" in ended.errors


async def test_a_stop_cancels_what_runs_in_the_background() -> None:
    ended = await run("works", stop_after="started")
    assert (ended.status, ended.words, ended.errors) == (Exit.OK, ["started", "cancelled"], "")


async def test_background_work_that_fails_is_told_and_ends_nothing_else() -> None:
    ended = await run("works_and_fails", stop_after="started")
    assert ended.status == Exit.OK
    assert "background work failed" in ended.errors
    assert "LookupError: nowhere" in ended.errors


@pytest.mark.parametrize("scene", ["sticks", "sticks_in_a_thread"])
async def test_a_process_that_sticks_in_its_stop_is_ended_and_says_where_it_stuck(scene: str) -> None:
    ended = await run(scene, stop_after="started")
    assert ended.status == Exit.UNEXPECTED
    assert "Timeout" in ended.errors
    assert "threading.py" in ended.errors

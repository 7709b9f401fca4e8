"""How the services of the embedded plane are kept running. The programs here are tiny, but real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cli.plane.supervisor import Program, Supervisor
from mesh.exits import Exit, Stopped
from tests.support.wait import wait_for

READY = """
import os, signal, socket, sys
def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
        notices.send(b"READY=1")
"""
STAYS = READY + "ready(); signal.pause()"
IGNORES_SIGTERM = READY + "signal.signal(signal.SIGTERM, lambda *_: None); ready()\nwhile True: signal.pause()"
NEVER_READY = "import signal; print('waiting for the tide', flush=True); signal.pause()"
ENDS_AT_ONCE = "import sys; print('starting', flush=True); print('the anchor is stuck', file=sys.stderr); sys.exit(4)"
STAYS_WHILE_ITS_STARTER_LIVES = READY + "ready(); os.read(int(os.environ['MOORAGE_LIFELINE_FD']), 1)"


class Watched:
    """A supervisor of one program per script, and what it told."""

    def __init__(self, folder: Path, *scripts: str) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.pids: asyncio.Queue[dict[str, int]] = asyncio.Queue()
        programs = [
            Program(f"p{number}", (sys.executable, "-S", "-c", script), folder / f"p{number}.log")
            for number, script in enumerate(scripts)
        ]
        self.supervisor = Supervisor(
            programs,
            environ=os.environ,
            tell=self.told.put_nowait,
            changed=lambda: self.pids.put_nowait(self.supervisor.pids),
        )

    async def pid_of(self, name: str, *, other_than: int) -> int:
        async with asyncio.timeout(20):
            while True:
                pid = (await self.pids.get()).get(name, other_than)
                if pid != other_than:
                    return pid


@asynccontextmanager
async def started(folder: Path, *scripts: str, within: float = 20) -> AsyncIterator[Watched]:
    watched = Watched(folder, *scripts)
    try:
        await watched.supervisor.start(within)
        yield watched
    finally:
        await watched.supervisor.stop(grace=20)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_start_returns_once_every_program_is_ready(tmp_path: Path) -> None:
    async with started(tmp_path, STAYS, STAYS) as watched:
        assert sorted(watched.supervisor.pids) == ["p0", "p1"]


async def test_a_program_that_is_killed_is_started_again_at_once(tmp_path: Path) -> None:
    async with started(tmp_path, STAYS) as watched:
        killed = watched.supervisor.pids["p0"]
        os.kill(killed, signal.SIGKILL)
        assert is_running(await watched.pid_of("p0", other_than=killed))
        told = watched.told.get_nowait()
    assert "SIGKILL" in told
    assert float(told.split(" in ")[1].split()[0]) <= 100  # milliseconds


async def test_a_program_that_is_killed_again_and_again_comes_back_each_time(tmp_path: Path) -> None:
    async with started(tmp_path, STAYS) as watched:
        pid = watched.supervisor.pids["p0"]
        for _ in range(3):
            os.kill(pid, signal.SIGKILL)
            pid = await watched.pid_of("p0", other_than=pid)
        assert is_running(pid)


async def test_a_program_that_is_restarted_is_told_to_stop_and_comes_back_alone(tmp_path: Path) -> None:
    async with started(tmp_path, STAYS, STAYS) as watched:
        first = watched.supervisor.pids
        watched.supervisor.restart("p0")
        assert is_running(await watched.pid_of("p0", other_than=first["p0"]))
        assert "SIGTERM" in watched.told.get_nowait()
        assert watched.supervisor.pids["p1"] == first["p1"]


async def test_a_stop_ends_every_program(tmp_path: Path) -> None:
    async with started(tmp_path, STAYS, STAYS) as watched:
        pids = watched.supervisor.pids.values()
    assert not any(map(is_running, pids))
    assert watched.supervisor.pids == {}


async def test_a_program_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    watched = Watched(tmp_path, IGNORES_SIGTERM)
    await watched.supervisor.start(20)
    pid = watched.supervisor.pids["p0"]
    await watched.supervisor.stop(grace=0.01)
    assert not is_running(pid)


async def test_a_program_that_is_not_ready_in_time_fails_the_start(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"p1 was not ready within 1 s") as refused:
        async with started(tmp_path, STAYS, NEVER_READY, within=1):
            pass
    assert refused.value.code is Exit.SERVICE_FAILED


async def test_a_program_that_ends_by_itself_fails_the_start_and_its_last_line_is_shown(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"exit code 4; it said last: the anchor is stuck; see .*p0\.log") as refused:
        async with started(tmp_path, ENDS_AT_ONCE):
            pass
    assert refused.value.code is Exit.SERVICE_FAILED


async def test_a_failed_start_leaves_no_program_running(tmp_path: Path) -> None:
    watched = Watched(tmp_path, STAYS, ENDS_AT_ONCE)
    with pytest.raises(Stopped):
        await watched.supervisor.start(20)
    pids = watched.supervisor.pids.values()
    await watched.supervisor.stop(grace=20)
    assert not any(map(is_running, pids))


async def test_a_program_that_cannot_be_run_fails_the_start(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    supervisor = Supervisor(
        [Program("absent", ("/does/not/exist",), tmp_path / "absent.log")], environ={}, tell=watched.told.put_nowait
    )
    with pytest.raises(Stopped, match=r"absent cannot be started \(No such file or directory\)"):
        await supervisor.start(20)
    await supervisor.stop(grace=20)


async def test_programs_learn_by_their_lifeline_that_their_starter_is_gone(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, signal, sys
from pathlib import Path
from cli.plane.supervisor import Program, Supervisor
async def main():
    arguments = (sys.executable, "-S", "-c", {STAYS_WHILE_ITS_STARTER_LIVES!r})
    program = Program("p", arguments, Path({str(tmp_path / "log")!r}))
    supervisor = Supervisor([program], environ=os.environ, tell=print)
    await supervisor.start(20)
    print(supervisor.pids["p"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    said, _ = await starter.communicate()
    assert starter.returncode == -signal.SIGKILL
    await _end_of(int(said))


async def test_a_program_is_kept_running_though_nobody_can_be_told(tmp_path: Path) -> None:
    pids: asyncio.Queue[int] = asyncio.Queue()

    def changed() -> None:
        pids.put_nowait(supervisor.pids.get("p", 0))
        raise OSError("the disk is full")

    def tell(_: str) -> None:
        raise BrokenPipeError

    program = Program("p", (sys.executable, "-S", "-c", STAYS), tmp_path / "log")
    supervisor = Supervisor([program], environ=os.environ, tell=tell, changed=changed)
    await supervisor.start(20)
    try:
        killed = await pids.get()
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(20):
            assert await pids.get() == 0
            assert is_running(await pids.get())
    finally:
        await supervisor.stop(grace=20)


async def test_what_a_program_says_is_appended_to_its_log(tmp_path: Path) -> None:
    (tmp_path / "p0.log").write_text("from an earlier start\n")
    async with started(tmp_path, READY + "print('hello', flush=True); ready(); signal.pause()"):
        pass
    assert (tmp_path / "p0.log").read_text() == "from an earlier start\nhello\n"


async def test_a_log_that_has_grown_too_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.plane.supervisor._LOG_LIMIT_BYTES", 10)
    (tmp_path / "p0.log").write_text("more than ten bytes\n")
    async with started(tmp_path, STAYS):
        pass
    assert (tmp_path / "p0.log.1").read_text() == "more than ten bytes\n"


async def test_the_log_of_a_program_that_talks_for_ever_stays_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.plane.supervisor._LOG_LIMIT_BYTES", 100_000)
    monkeypatch.setattr("cli.plane.supervisor._LOG_LOOK_EVERY", 0.01)
    talks = (
        READY + "ready()\nfor n in range(10_000): print('on and on', n, flush=True)\nprint('the end'); signal.pause()"
    )
    before, now = tmp_path / "p0.log.1", tmp_path / "p0.log"
    async with started(tmp_path, talks):
        await asyncio.to_thread(wait_for, "some of the log was put aside", before.exists)
        await asyncio.to_thread(wait_for, "the log was begun anew", lambda: now.stat().st_size < 100_000)
    assert before.stat().st_mode & 0o777 == now.stat().st_mode & 0o777


async def _end_of(pid: int) -> None:
    """Wait until a process that is not a child of this one has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(20):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_a_program_has_variables_of_its_own_above_those_of_all(tmp_path: Path) -> None:
    tells = READY + "print(os.environ['WHO'], flush=True); ready(); signal.pause()"
    arguments = (sys.executable, "-S", "-c", tells)
    programs = [
        Program("one", arguments, tmp_path / "one.log"),
        Program("two", arguments, tmp_path / "two.log", {"WHO": "itself"}),
    ]
    supervisor = Supervisor(programs, environ={**os.environ, "WHO": "all"}, tell=lambda _: None)
    try:
        await supervisor.start(20)
    finally:
        await supervisor.stop(5)
    assert [each.log.read_text() for each in programs] == ["all\n", "itself\n"]

"""The processes that are measured: a real plane as `moorage up` starts it, and the bare server beside it."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from cli.plane.plane_file import Plane, read_plane

READY_WITHIN = 30.0
"""Seconds that anything may take to become ready before the benchmark gives up."""

_PROCESS_CPU = 2
"""The kind of clock, beside the process in the clock's id, as `clock_getcpuclockid` of the C library makes it."""


class NotReady(Exception):
    """A process that was to be measured did not come up."""


@contextmanager
def plane(home: Path) -> Iterator[tuple[Plane, float]]:
    """A plane in `home`: where it is, and the seconds that it took from its start to its ready notice."""
    command = [sys.executable, "-m", "cli", "up", "--home", str(home), "--port", "0"]
    log = (home.parent / f"{home.name}.log").open("wb")
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found = _until(process, lambda: _plane(home, process.pid))
        yield found, time.perf_counter() - begin
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=READY_WITHIN)
        log.close()


@asynccontextmanager
async def bare(identity: Path) -> AsyncIterator[tuple[str, int, float]]:
    """A bare server: its address, its process id, and the seconds that it took to listen."""
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.bare", str(identity), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise NotReady("the bare server has no pipes")
    async with asyncio.timeout(READY_WITHIN):
        port = int(await process.stdout.readline())
    try:
        yield f"127.0.0.1:{port}", process.pid, time.perf_counter() - begin
    finally:
        process.stdin.close()
        await process.wait()


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used so far, user and system, in seconds."""
    return time.clock_gettime(~pid << 3 | _PROCESS_CPU)


def tree_cpu_seconds(pid: int) -> float:
    """CPU that a process and its children have used so far, in seconds; the children must live on."""
    children = "".join(each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return cpu_seconds(pid) + sum(cpu_seconds(int(child)) for child in children)


def _plane(home: Path, pid: int) -> Plane | None:
    file = home / "plane.json"
    if not file.exists():
        return None
    found = read_plane(file)
    return found if found.pids.get("up") == pid else None


def _until(process: subprocess.Popen[bytes], find: Callable[[], Plane | None]) -> Plane:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotReady(f"{process.args!r} ended with {process.returncode}; its log is beside its home")
        found = find()
        if found:
            return found
        time.sleep(0.005)
    raise NotReady(f"{process.args!r} was not ready within {READY_WITHIN:.0f} s")

"""The log: JSON lines on stderr, that are never the reason why something fails."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("log_child.py")
DEADLINE = 30


async def logged(lines: int, stderr: int) -> tuple[int | None, bytes, bytes]:
    """Exit code, stdout and stderr of a process that logs to `stderr`."""
    pipe = asyncio.subprocess.PIPE
    async with asyncio.timeout(DEADLINE):
        child = await asyncio.create_subprocess_exec(sys.executable, CHILD, str(lines), stdout=pipe, stderr=stderr)
        output, errors = await child.communicate()
    return child.returncode, output, errors or b""


async def test_a_line_is_a_json_object_and_tells_no_secret() -> None:
    status, _, errors = await logged(2, asyncio.subprocess.PIPE)
    first, second = map(json.loads, errors.splitlines())
    assert (status, first["number"], second["number"]) == (0, 0, 1)
    assert (first["service"], first["part"], first["event"]) == ("child", "part", "line")
    assert first["token"] == "[redacted]"


@pytest.fixture
def full_disk() -> Iterator[int]:
    with Path("/dev/full").open("wb") as full:
        yield full.fileno()


async def test_a_log_on_a_full_disk_loses_lines_and_fails_nobody(full_disk: int) -> None:
    status, output, _ = await logged(5000, full_disk)
    assert (status, output) == (0, b"went on\n")


async def test_whoever_logs_loads_no_rich_and_can_still_load_it() -> None:
    script = "import sys, mesh.telemetry; print('rich' in sys.modules); import rich; print('rich' in sys.modules)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(DEADLINE):
        output, _ = await child.communicate()
    assert output.split() == [b"False", b"True"]

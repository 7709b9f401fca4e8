"""`moorage demo`: the whole story, and that nothing of it stays."""

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.exits import Exit
from tests.support.plane import MOORAGE, moorage, processes_of

STEPS = [
    "plane",
    "httpbin",
    "application",
    "pair",
    "webhook",
    "api",
    "event-api",
    "group",
    "runtime",
    "notice",
    "event-url",
    "change",
    "renewal",
    "token",
    "revocation",
    "delete",
    "stop",
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of(tmp_path / "home") == []


def test_the_whole_story_comes_out_as_it_must(home: Path, tmp_path: Path) -> None:
    report = tmp_path / "build" / "demo.json"
    done = moorage("demo", "--home", str(home), "--report", str(report), timeout=55)
    assert done.returncode == Exit.OK, done.stderr
    told = json.loads(report.read_text())
    assert told["ok"] is True
    assert [step["name"] for step in told["steps"]] == STEPS
    assert all(step["ms"] >= 0 and step["detail"] for step in told["steps"])
    assert not home.exists()


def test_the_first_step_that_fails_ends_the_story_and_is_named(home: Path, tmp_path: Path) -> None:
    report = tmp_path / "demo.json"
    environ = {**os.environ, "MOORAGE_DIRECTOR_LOG_LEVEL": "shout"}
    done = subprocess.run(
        [*MOORAGE, "demo", "--home", str(home), "--report", str(report)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == Exit.DEMO_FAILED
    last = done.stderr.splitlines()[-1]
    assert last.startswith("moorage: step plane failed: ")
    assert "shout" in last
    told = json.loads(report.read_text())
    assert told["ok"] is False
    assert [step["name"] for step in told["steps"]] == ["plane"]
    assert (home / "logs" / "director.log").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_story_leaves_nothing(number: signal.Signals, home: Path, tmp_path: Path) -> None:
    with _stepwise(home, tmp_path / "demo.json") as demo:
        for _ in range(3):
            assert _next_step(demo)
        demo.send_signal(number)
        assert demo.wait(50) == Exit.INTERRUPTED
    assert not home.exists()


def test_a_killed_story_leaves_no_process(home: Path, tmp_path: Path) -> None:
    with _stepwise(home, tmp_path / "demo.json") as demo:
        for _ in range(3):
            assert _next_step(demo)
        plane = json.loads((home / "plane.json").read_text())
        ends = [os.pidfd_open(pid) for pid in plane["pids"].values()]
        demo.kill()
        demo.wait(50)
        for descriptor in ends:
            _wait_for_end(descriptor)


def test_a_home_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = moorage("demo", "--home", str(tmp_path), "--report", str(tmp_path / "demo.json"))
    assert done.returncode == Exit.USAGE
    assert "is not empty" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def _stepwise(home: Path, report: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*MOORAGE, "demo", "--home", str(home), "--report", str(report), "--step-by-step"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _next_step(demo: "subprocess.Popen[str]") -> str:
    """Let the story go on to its next step; the name of that step."""
    assert demo.stdout is not None
    assert demo.stdin is not None
    announced = json.loads(demo.stdout.readline())
    demo.stdin.write("\n")
    demo.stdin.flush()
    return str(announced["step"])


def _wait_for_end(descriptor: int) -> None:
    assert select.select([descriptor], [], [], 30)[0], "a process of the plane did not end"
    os.close(descriptor)

"""Delivery by a process that is killed: what it had done stays done, and it goes on with what was next."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from director.store import tables
from tests.integration.director_webhooks.receiver import Receiver, receiving
from tests.support.sealing import sealing
from tests.support.wait import wait_for
from tests.unit.director.plane import Plane
from tests.unit.director_webhooks.test_delivery import Story
from tests.unit.director_webhooks.test_settings import SECRET

PROCESS = Path(__file__).with_name("process.py")


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    plane = Plane(f"sqlite:///{tmp_path}/director.sqlite")
    yield Story(plane, sealing(plane, tmp_path / "sealing.key"))
    plane.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@contextmanager
def delivering(home: Path, first_wait: float = 0.1) -> Iterator[subprocess.Popen[bytes]]:
    """The process, killed in the end. What it writes goes to HOME/log; standard output has a file of its own."""
    with (home / "log").open("ab") as log, (home / "out").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, str(PROCESS), str(home), str(first_wait)], stdout=out, stderr=log, cwd=Path.cwd()
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def test_a_notice_is_delivered_after_a_kill_in_the_middle_of_an_attempt(
    story: Story, receiver: Receiver, tmp_path: Path
) -> None:
    story.notify(story.application(f"{receiver.url}/in"))
    receiver.held.add("/in")
    with delivering(tmp_path):
        wait_for("the attempt", lambda: receiver.received)
    receiver.held.clear()
    with delivering(tmp_path):
        wait_for("the delivery", lambda: story.states() == ["DELIVERED"])
    assert len(receiver.received) == 2
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


def test_attempts_that_were_made_before_a_kill_are_not_made_again(
    story: Story, receiver: Receiver, tmp_path: Path
) -> None:
    story.notify(story.application(f"{receiver.url}/in"))
    receiver.statuses["/in"] = 503
    with delivering(tmp_path, first_wait=2.0):
        wait_for("the first attempt's record", lambda: story.plane.rows(tables.notices)[0]["attempts"] == 1)
        wait_for("the wait", lambda: _remembered(tmp_path, "DBOS.sleep"))
    assert len(receiver.received) == 1
    receiver.statuses.clear()
    with delivering(tmp_path, first_wait=2.0):
        wait_for("the delivery", lambda: story.states() == ["DELIVERED"])
    assert len(receiver.received) == 2
    assert story.plane.rows(tables.notices)[0]["attempts"] == 2


def test_what_was_delivered_before_a_kill_is_not_sent_again(story: Story, receiver: Receiver, tmp_path: Path) -> None:
    story.notify(story.application(f"{receiver.url}/in"), times=3)
    with delivering(tmp_path):
        wait_for("the deliveries", lambda: story.states() == ["DELIVERED"] * 3)
    story.notify(story.application(f"{receiver.url}/later"))
    with delivering(tmp_path):
        wait_for("the new notice", lambda: story.states() == ["DELIVERED"] * 4)
    assert [request.path for request in receiver.received].count("/in") == 3


def test_one_receiver_that_never_answers_holds_up_nobody_else(story: Story, receiver: Receiver, tmp_path: Path) -> None:
    story.notify(story.application(f"{receiver.url}/frozen"), times=10)
    story.notify(story.application(f"{receiver.url}/in"))
    receiver.held.add("/frozen")
    with delivering(tmp_path):
        wait_for("the delivery", lambda: "/in" in [request.path for request in receiver.received])


@pytest.mark.check("trust-11")
def test_the_secret_is_in_no_file_and_no_line_that_delivery_writes(
    story: Story, receiver: Receiver, tmp_path: Path
) -> None:
    story.notify(story.application(f"{receiver.url}/in"))
    receiver.statuses["/in"] = 500
    with delivering(tmp_path):
        wait_for("the last attempt", lambda: story.states() == ["FAILED"])
    for path in tmp_path.iterdir():
        assert SECRET.removeprefix("whsec_").encode() not in path.read_bytes(), path
    assert (tmp_path / "out").read_bytes() == b""


def _remembered(home: Path, step: str) -> bool:
    """Whether DBOS has written down that it began this step."""
    return any(step.encode() in path.read_bytes() for path in home.glob("dbos.sqlite*"))

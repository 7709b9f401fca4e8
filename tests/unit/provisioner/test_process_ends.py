"""The process driver, with real processes: what becomes of a workload that ends."""

import os
import signal
from datetime import timedelta

import pytest

from mesh.backoff import Backoff
from tests.unit.provisioner.host import RUNTIME, Host, has_ended, mode


async def test_a_workload_that_ends_is_started_again(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    first = await host.started()
    os.kill(first, signal.SIGKILL)
    assert await host.started() != first
    assert driver.trouble(RUNTIME) == "it ended once, the last time with status -9"


async def test_of_a_workload_that_runs_the_last_that_it_said_is_told(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    await host.started()
    assert driver.trouble(RUNTIME) == ""
    (host.folder / "agent.log").write_text("first\nno way to the Director\n")
    assert driver.trouble(RUNTIME) == "it runs, saying: no way to the Director"


async def test_a_workload_that_ends_for_want_of_an_identity_gets_a_new_token(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert set(host.invitations) == {RUNTIME}
    assert (host.folder / "token").read_text() == "moor_again\n"
    assert mode(host.folder / "token") == 0o600


async def test_a_workload_that_is_not_let_in_again_is_started_all_the_same(host: Host) -> None:
    host.closed = True
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert set(host.invitations) == {RUNTIME}


async def test_a_workload_that_ends_otherwise_gets_no_new_token(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    os.kill(await host.started(), signal.SIGKILL)
    await host.started()
    assert host.invitations == []
    assert (host.folder / "token").read_text() == "moor_secret\n"


class Recorded(Backoff):
    """Remembers what it was asked for, and has nobody wait."""

    def __init__(self) -> None:
        super().__init__(timedelta(seconds=1), timedelta(seconds=60))
        self.asked: list[str] = []

    def next(self, at_least: timedelta | None = None) -> float:
        self.asked.append("next")
        return 0

    def reset(self) -> None:
        self.asked.append("reset")


@pytest.mark.parametrize(
    ("healthy", "asked"),
    [(timedelta(hours=1), ["next", "next"]), (timedelta(0), ["reset", "next", "reset", "next"])],
    ids=["short-lived", "healthy"],
)
async def test_a_workload_is_restarted_later_and_later_until_it_has_lasted(
    host: Host, healthy: timedelta, asked: list[str]
) -> None:
    host.backoff = recorded = Recorded()
    host.healthy = healthy
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    for _ in range(2):
        os.kill(await host.started(), signal.SIGKILL)
    await host.started()
    assert recorded.asked == asked


async def test_how_a_workload_ends_is_told_with_its_last_words(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert driver.trouble(RUNTIME).endswith("with status 14, saying: agent: the token was refused")


async def test_what_a_workload_that_ended_has_left_running_ends_too(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("parent")
    await driver.start(RUNTIME)
    child = await host.said("child")
    os.kill(await host.started(), signal.SIGKILL)
    await has_ended(child)


async def test_a_fault_in_the_search_for_a_new_token_does_not_keep_the_workload_down(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    host.fault = ZeroDivisionError("on purpose")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert host.invitations

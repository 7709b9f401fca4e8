"""Following a log: when it is read, and what becomes of a reading that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from mesh import telemetry
from mesh.following import Follower


class Log:
    """What is followed: each reading takes `fails` off, and waits for `open`."""

    def __init__(self) -> None:
        self.readings = asyncio.Queue[int]()
        self.count = 0
        self.fails = 0
        self.open = asyncio.Event()
        self.open.set()

    async def advance(self) -> None:
        self.count += 1
        self.readings.put_nowait(self.count)
        await self.open.wait()
        if self.fails:
            self.fails -= 1
            raise ZeroDivisionError("on purpose")

    async def read(self) -> int:
        """Wait for the next reading."""
        async with asyncio.timeout(10):
            return await self.readings.get()


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def follow(log: Log) -> AsyncIterator[Callable[..., Any]]:
    followers: list[Follower] = []

    async def start(**how: Any) -> Follower:
        defaults: dict[str, Any] = {"poll_interval": 60.0, "longest_retry": timedelta(0), "random": lambda: 1.0}
        followers.append(Follower(log.advance, "test", telemetry.logger("test"), **{**defaults, **how}))
        await followers[-1].start()
        return followers[-1]

    yield start
    for each in followers:
        await each.stop()


async def test_it_is_read_when_it_has_grown(log: Log, follow: Callable[..., Any]) -> None:
    follower = await follow()
    for number in (1, 2):
        follower.wake()
        assert await log.read() == number


async def test_it_is_read_in_time_though_nobody_says_that_it_has_grown(log: Log, follow: Callable[..., Any]) -> None:
    await follow(poll_interval=0.0)
    assert [await log.read(), await log.read()] == [1, 2]


async def test_growth_during_a_reading_is_for_the_next_one(log: Log, follow: Callable[..., Any]) -> None:
    log.open.clear()
    follower = await follow()
    follower.wake()
    await log.read()
    for _ in range(3):
        follower.wake()
    log.open.set()
    assert await log.read() == 2
    assert log.readings.empty()


async def test_a_reading_that_fails_is_made_again(log: Log, follow: Callable[..., Any]) -> None:
    log.fails = 2
    follower = await follow()
    follower.wake()
    assert [await log.read() for _ in range(3)] == [1, 2, 3]


async def test_it_is_followed_until_it_is_stopped(log: Log, follow: Callable[..., Any]) -> None:
    follower = await follow()
    assert follower.is_followed
    log.open.clear()
    follower.wake()
    await log.read()
    await follower.stop()
    assert not follower.is_followed
    await follower.stop()

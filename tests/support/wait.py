"""Waiting for something to be so. It is looked at again and again until a deadline, which fails the test."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY = 0.02


def wait_for(what: str, look: Callable[[], T | None], within: float = 20.0) -> T:
    """What `look` returns, once that is true; fails, naming `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    never = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}; last seen: {seen!r}"
        never.wait(_LOOK_EVERY)
    return seen


async def eventually(what: str, look: Callable[[], Awaitable[T | None]], within: float = 20.0) -> T:
    """`wait_for` where looking is a call; a look that takes longer than the deadline fails too."""
    seen: T | None = None
    try:
        async with asyncio.timeout(within):
            while True:
                if seen := await look():
                    return seen
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what}; last seen: {seen!r}") from None

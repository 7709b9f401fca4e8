"""One side of a comparison: a call made many times in a row, and what it costs the server's process."""

import statistics
import time
from collections.abc import Awaitable, Callable

from bench.processes import cpu_seconds

WARM_UP = 200
"""Calls before the first that counts."""


class Side:
    """Calls of one kind upon the process `pid`, in rounds."""

    def __init__(self, call: Callable[[], Awaitable[object]], pid: int, calls: int, warm_up: int = WARM_UP) -> None:
        self._call = call
        self._pid = pid
        self._calls = calls
        self._warm_up = warm_up
        self._cpu: list[float] = []
        self._times: list[float] = []

    async def round(self) -> None:
        """Make the calls, one at a time."""
        for _ in range(self._warm_up if not self._cpu else 0):
            await self._call()
        before = cpu_seconds(self._pid)
        for _ in range(self._calls):
            begin = time.perf_counter()
            await self._call()
            self._times.append(time.perf_counter() - begin)
        self._cpu.append((cpu_seconds(self._pid) - before) / self._calls)

    def cpu(self) -> float:
        """Server CPU of one call, in microseconds: the median of the rounds."""
        return statistics.median(self._cpu) * 1e6

    def p50(self) -> float:
        """Time of one call, in microseconds."""
        return statistics.median(self._times) * 1e6

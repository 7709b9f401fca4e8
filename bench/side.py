"""One side of a comparison: a call made many times in a row, and what it costs the server."""

import statistics
import time
from collections.abc import Awaitable, Callable

from bench.processes import cpu_seconds, tree_cpu_seconds

WARM_UP = 200
"""Calls before the first that counts."""


class Side:
    """Calls of one kind upon the process `pid`, in rounds; `behind` is what it has work for it, such as a database."""

    def __init__(
        self,
        call: Callable[[], Awaitable[object]],
        pid: int,
        calls: int,
        warm_up: int = WARM_UP,
        behind: int | None = None,
    ) -> None:
        self._call = call
        self._pid = pid
        self._behind = behind
        self._calls = calls
        self._warm_up = warm_up
        self._cpu: list[float] = []
        self._cpu_behind: list[float] = []
        self._times: list[float] = []

    async def round(self) -> None:
        """Make the calls, one at a time."""
        for _ in range(self._warm_up if not self._cpu else 0):
            await self._call()
        before, before_behind = cpu_seconds(self._pid), self._behind_seconds()
        for _ in range(self._calls):
            begin = time.perf_counter()
            await self._call()
            self._times.append(time.perf_counter() - begin)
        self._cpu.append((cpu_seconds(self._pid) - before) / self._calls)
        self._cpu_behind.append((self._behind_seconds() - before_behind) / self._calls)

    def cpu(self) -> float:
        """Server CPU of one call, in microseconds: the median of the rounds."""
        return statistics.median(self._cpu) * 1e6

    def whole_cpu(self) -> float:
        """The same with what is behind it."""
        return statistics.median(map(sum, zip(self._cpu, self._cpu_behind, strict=True))) * 1e6

    def p50(self) -> float:
        """Time of one call, in microseconds."""
        return statistics.median(self._times) * 1e6

    def _behind_seconds(self) -> float:
        return tree_cpu_seconds(self._behind) if self._behind is not None else 0.0

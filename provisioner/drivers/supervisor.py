"""Keeps one child running: it is started again whenever it ends, later and later while it does not last."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from mesh import telemetry
from mesh.backoff import Backoff
from provisioner.drivers.child import Child, Program

FIRST_RESTART = timedelta(seconds=0.5)
LONGEST_RESTART = timedelta(seconds=30)

HEALTHY = timedelta(seconds=30)
"""A child that lasted this long is restarted as quickly as the first time."""

_LAST_LINE_BYTES = 400
_log = telemetry.logger("driver")


class Supervisor:
    """Keeps `program` running from `start` to `stop` or `release`. `note` says where to find it after a restart.

    `on_ended(status)` is awaited before each restart, with the exit status where it is known.
    """

    def __init__(
        self,
        program: Program,
        note: Path,
        backoff: Backoff | None = None,
        healthy: timedelta = HEALTHY,
        on_ended: Callable[[int | None], Awaitable[None]] | None = None,
    ) -> None:
        self._program = program
        self._note = note
        self._backoff = backoff or Backoff(FIRST_RESTART, LONGEST_RESTART)
        self._healthy = healthy.total_seconds()
        self._on_ended = on_ended
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None
        self._ends = 0
        self.trouble = ""
        """What last ended the program or kept it from starting, in words; empty when nothing did."""

    def start(self) -> None:
        """Take over the process that is noted, or start one; raises `OSError` if neither can be done."""
        self._child = Child.find(self._note) or Child.start(self._program, self._note)
        self.keep()

    def keep(self) -> None:
        """Go on starting it from now on; for where `start` raised."""
        self._task = asyncio.create_task(self._keep_running())

    async def stop(self, grace: float) -> None:
        """End the process, or one that is noted and was never taken over; it may take `grace` seconds to go by itself.

        A stop that is cancelled leaves it running, unsupervised. Raises `TimeoutError` where it cannot be ended.
        """
        await self._let_be()
        child = self._child or Child.find(self._note)
        self._child = None
        if child is not None:
            try:
                await child.stop(grace)
            finally:
                child.release()

    async def release(self) -> None:
        """Let the process run on, to be found again."""
        await self._let_be()
        if self._child is not None:
            self._child.release()
            self._child = None

    def last_line(self) -> str:
        """The end of what the program has written so far."""
        return _last_line(self._program.log)

    async def _let_be(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if self._child is not None:
                await self._child.ended()
                self._say_ended(self._child)
                status = self._child.status
                self._child.release()
                self._child = None
                await self._tell_ended(status)
            if loop.time() - began >= self._healthy:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next())
            try:
                self._child = Child.start(self._program, self._note)
            except OSError as error:
                self.trouble = f"it cannot be started: {error.strerror}"
                _log.warning("a workload cannot be started", folder=self._program.folder.name, error=str(error))

    async def _tell_ended(self, status: int | None) -> None:
        if self._on_ended is None:
            return
        try:
            await self._on_ended(status)
        except Exception:  # a fault of those who are told is no reason to leave the program down
            _log.exception("fault", folder=self._program.folder.name)

    def _say_ended(self, child: Child) -> None:
        self._ends += 1
        status = "" if child.status is None else f" with status {child.status}"
        times = "once" if self._ends == 1 else f"{self._ends} times"
        last_line = self.last_line()
        self.trouble = f"it ended {times}, the last time{status}" + (f", saying: {last_line}" if last_line else "")
        _log.warning(
            "a workload ended", folder=self._program.folder.name, pid=child.pid, status=child.status, last=last_line
        )


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_LINE_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

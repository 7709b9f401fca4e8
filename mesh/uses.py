"""First uses: which certificates a service has seen, told to the ledger so that those they replace end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import NoReturn

from moorage.connector.v1.certificate_pb2 import ReportCertificateUseRequest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub

from mesh import telemetry
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from mesh.errors import cause_of
from mesh.run import in_background

MOST_AT_ONCE = 1000
"""Serial numbers that one report names, as the contract has it."""

MOST_KEPT = 100_000
"""Serial numbers that are kept while they cannot be told; of more, the oldest are forgotten."""

INTERVAL = 0.25
"""Seconds between two reports."""

CALL_TIMEOUT = 10.0
"""Seconds that one report to the Connector may take."""

_log = telemetry.logger("uses")

Report = Callable[[Sequence[str]], Awaitable[None]]
"""Tells the ledger of up to `MOST_AT_ONCE` serial numbers; to tell of one twice is harmless."""


def told(report: Report, stack: AsyncExitStack) -> "Uses":
    """Uses that are told until the stack unwinds."""
    uses = Uses(report)
    in_background(stack, uses.run())
    return uses


class Uses:
    """What was seen and is not told yet. `run` tells it."""

    def __init__(self, report: Report, *, interval: float = INTERVAL, backoff: Backoff | None = None) -> None:
        self._report = report
        self._interval = interval
        self._backoff = backoff or Backoff(timedelta(milliseconds=250), timedelta(seconds=5))
        self._untold: dict[str, None] = {}
        self._any = asyncio.Event()
        self._failing = False

    def saw(self, serial: str) -> None:
        """A certificate was shown, by whoever holds its key."""
        if len(self._untold) >= MOST_KEPT:
            del self._untold[next(iter(self._untold))]
        self._untold[serial] = None
        self._any.set()

    async def run(self) -> NoReturn:
        """Tell the first at once, and what comes after it in batches, until cancelled; what fails is tried again."""
        while True:
            await self._any.wait()
            batch = list(self._untold)[:MOST_AT_ONCE]
            wait = self._interval if await self._told(batch) else self._backoff.next()
            if not self._untold:
                self._any.clear()
            await asyncio.sleep(wait)

    async def _told(self, batch: Sequence[str]) -> bool:
        try:
            await self._report(batch)
        except Exception as error:  # whatever it is: the next try must come
            if not self._failing:
                self._failing = True
                _log.warning("uses of certificates are not told", failure=cause_of(error))
            return False
        self._failing = False
        self._backoff.reset()
        for serial in batch:
            self._untold.pop(serial, None)
        return True


def to_connector(channel: LiveChannel) -> Report:
    """Reports to the Connector, over a channel of a service."""

    async def report(serials: Sequence[str]) -> None:
        request = ReportCertificateUseRequest(serial_numbers=serials)
        await channel.stub(ConnectorStub).ReportCertificateUse(request, timeout=CALL_TIMEOUT)

    return report

"""First uses of certificates, on their way to the ledger."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from mesh import uses as module
from mesh.backoff import Backoff
from mesh.uses import MOST_AT_ONCE, Uses
from tests.support.wait import eventually


class Ledger:
    """Takes reports, unless it is away."""

    def __init__(self) -> None:
        self.reports: list[list[str]] = []
        self.failures = 0

    async def report(self, serials: Sequence[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("away")
        self.reports.append(list(serials))

    @property
    def told(self) -> list[str]:
        return [each for report in self.reports for each in report]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def test_what_was_seen_is_told_once(ledger: Ledger) -> None:
    async with telling(ledger) as uses:
        uses.saw("01")
        uses.saw("01")
        await until("it is told", lambda: ledger.told == ["01"])
        uses.saw("02")
        await until("the next one, too", lambda: ledger.told == ["01", "02"])


async def test_many_are_told_in_as_many_reports_as_the_contract_asks_for(ledger: Ledger) -> None:
    async with telling(ledger) as uses:
        for number in range(2 * MOST_AT_ONCE + 1):
            uses.saw(f"{number:04x}")
        await until("all are told", lambda: len(ledger.told) == 2 * MOST_AT_ONCE + 1)
    assert [len(each) for each in ledger.reports] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]


async def test_what_cannot_be_told_is_told_later_and_logged_once(ledger: Ledger) -> None:
    ledger.failures = 3
    with capture_logs() as lines:
        async with telling(ledger) as uses:
            uses.saw("01")
            await until("it is told", lambda: ledger.told == ["01"])
    assert [each["event"] for each in lines] == ["uses of certificates are not told"]


async def test_of_more_than_can_be_kept_the_oldest_are_forgotten(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    async with telling(ledger) as uses:
        for serial in ("01", "02", "03"):
            uses.saw(serial)
        await until("they are told", lambda: bool(ledger.told))
    assert ledger.told == ["02", "03"]


@asynccontextmanager
async def telling(ledger: Ledger) -> AsyncIterator[Uses]:
    uses = Uses(ledger.report, interval=0.001, backoff=Backoff(timedelta(milliseconds=1), timedelta(milliseconds=5)))
    task = asyncio.create_task(uses.run())
    yield uses
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(what: str, look: Callable[[], bool]) -> None:
    async def looked() -> bool:
        return look()

    await eventually(what, looked)

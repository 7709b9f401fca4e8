"""Reports: the latest only, until the Director has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import pytest
from moorage.director.v1.configuration_pb2 import (
    REPORT_STATE_APPLIED,
    ReportConfigurationRequest,
    ReportConfigurationResponse,
)

from agent.outcome import Outcome
from agent.reporter import ATTEMPTS, Reporter
from agent.status import Counts
from mesh.backoff import Backoff

RUNTIME_ID = "0e8b1f5e-6f0a-4c59-8f7e-d0a3f6b7c001"
AT_ONCE = timedelta(milliseconds=1)
NEVER = timedelta(hours=1)


def applied(revision: int) -> Outcome:
    return Outcome(REPORT_STATE_APPLIED, revision, "ab" * 32)


class DirectorDouble:
    """Takes reports; first answers with `failures`, in turn. Waits while `free` is cleared."""

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.attempts: asyncio.Queue[ReportConfigurationRequest] = asyncio.Queue()
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, request: ReportConfigurationRequest) -> ReportConfigurationResponse:
        self.attempts.put_nowait(request)
        await self.free.wait()
        if self.failures:
            raise grpc.aio.AioRpcError(self.failures.pop(0), grpc.aio.Metadata(), grpc.aio.Metadata(), "away")
        return ReportConfigurationResponse(accepted=True)

    async def revisions(self, count: int) -> list[int]:
        return [(await self.attempts.get()).revision for _ in range(count)]


class Scene:
    def __init__(self, wait: timedelta, latest: Outcome | None = None) -> None:
        self.director = DirectorDouble()
        self.counts = Counts()
        self.counted = asyncio.Event()
        self.reporter = Reporter(
            RUNTIME_ID, "1.2.3", self.director.take, latest, Backoff(wait, wait), self.counts, self.counted.set
        )

    async def counting(self, **expected: int) -> None:
        while any(getattr(self.counts, name) != value for name, value in expected.items()):
            self.counted.clear()
            await self.counted.wait()


@asynccontextmanager
async def scene(wait: timedelta = AT_ONCE, latest: Outcome | None = None) -> AsyncIterator[Scene]:
    at = Scene(wait, latest)
    task = asyncio.create_task(at.reporter.run())
    try:
        yield at
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_a_report_says_which_revision_and_what_runs() -> None:
    async with scene() as at:
        at.reporter.put(applied(4))
        assert await at.director.attempts.get() == ReportConfigurationRequest(
            runtime_id=RUNTIME_ID,
            revision=4,
            content_sha256="ab" * 32,
            state=REPORT_STATE_APPLIED,
            agent_version="1.2.3",
        )
        await at.counting(calls_ok=1, calls_failed=0, attempts_failed=0)


async def test_a_report_that_is_not_taken_is_tried_until_it_is() -> None:
    async with scene() as at:
        at.director.failures = [grpc.StatusCode.UNAVAILABLE] * 3
        at.reporter.put(applied(4))
        assert await at.director.revisions(4) == [4, 4, 4, 4]
        await at.counting(calls_ok=1, calls_failed=0, attempts_failed=3)


async def test_a_report_that_is_tried_too_often_counts_as_failed_and_is_tried_on() -> None:
    async with scene() as at:
        at.director.failures = [grpc.StatusCode.UNAVAILABLE] * (ATTEMPTS + 2)
        at.reporter.put(applied(4))
        await at.counting(calls_ok=1, calls_failed=1, attempts_failed=ATTEMPTS + 2)


async def test_a_report_that_is_refused_is_not_tried_again() -> None:
    async with scene() as at:
        at.director.failures = [grpc.StatusCode.INVALID_ARGUMENT]
        at.reporter.put(applied(4))
        await at.counting(calls_failed=1)
        at.reporter.put(applied(5))
        assert await at.director.revisions(2) == [4, 5]


@pytest.mark.check("stream-12")
async def test_only_the_latest_of_several_outcomes_is_reported() -> None:
    async with scene() as at:
        at.director.free.clear()
        at.reporter.put(applied(1))
        assert await at.director.revisions(1) == [1]
        for revision in (2, 3, 4):
            at.reporter.put(applied(revision))
        at.director.free.set()
        assert await at.director.revisions(1) == [4]
        await at.counting(calls_ok=2)


async def test_a_newer_outcome_does_not_wait_for_the_next_try_of_an_older_one() -> None:
    async with scene(NEVER) as at:
        at.director.failures = [grpc.StatusCode.UNAVAILABLE]
        at.reporter.put(applied(1))
        await at.counting(attempts_failed=1)
        at.reporter.put(applied(2))
        assert await at.director.revisions(2) == [1, 2]


async def test_the_state_is_reported_again_when_asked_to() -> None:
    async with scene(NEVER, latest=applied(3)) as at:
        at.reporter.repeat()
        assert await at.director.revisions(1) == [3]
        at.reporter.put(applied(4))
        await at.counting(calls_ok=2)
        at.reporter.repeat()
        assert await at.director.revisions(2) == [4, 4]


async def test_without_any_outcome_there_is_nothing_to_repeat() -> None:
    async with scene() as at:
        at.reporter.repeat()
        at.reporter.put(applied(1))
        assert await at.director.revisions(1) == [1]
        await at.counting(calls_ok=1)
        assert at.director.attempts.empty()

"""Tells the Director what became of the latest revision, until the Director has taken it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import NoReturn

import grpc
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportConfigurationResponse
from moorage.errors.v1.errors_pb2 import Reason

from agent.outcome import Outcome
from agent.status import Counts
from certs.identity import IdentityRefused
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.errors import Problem

ATTEMPTS = 5
"""After so many attempts a report counts as failed; it is tried on all the same, for as long as it is the latest."""

_TRANSIENT = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}
_log = telemetry.logger("reporter")


class Reporter:
    """Holds one slot: only the latest outcome is of interest to the Director.

    `send` makes one attempt, within a deadline of its own; it raises `grpc.aio.AioRpcError`, or `IdentityRefused` and
    `OSError` where there is no identity. `latest` is what `repeat` reports before anything was put. `on_counted` is
    called after `counts` has changed.
    """

    def __init__(
        self,
        runtime_id: str,
        agent_version: str,
        send: Callable[[ReportConfigurationRequest], Awaitable[ReportConfigurationResponse]],
        latest: Outcome | None,
        backoff: Backoff,
        counts: Counts,
        on_counted: Callable[[], None],
    ) -> None:
        self._runtime_id = runtime_id
        self._agent_version = agent_version
        self._send = send
        self._backoff = backoff
        self._counts = counts
        self._on_counted = on_counted
        self._latest = latest
        self._wake = asyncio.Event()

    def put(self, outcome: Outcome) -> None:
        """Report `outcome` next, and forget what was to be reported before it."""
        self._latest = outcome
        self._wake.set()

    def repeat(self) -> None:
        """Report the latest outcome again, at once: the Director may have lost it."""
        if self._latest is not None:
            self._wake.set()

    async def run(self) -> NoReturn:
        """Report until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._latest is not None:
                await self._report(self._latest)

    async def _report(self, outcome: Outcome) -> None:
        self._backoff.reset()
        for attempt in itertools.count(1):
            problem = await self._attempt(outcome)
            if problem is None:
                return
            if problem.code not in _TRANSIENT and not problem.is_reason(Reason.REASON_CERTIFICATE_REVOKED):
                self._give_up(outcome, problem)
                return
            # A certificate ends at the first use of its successor, which the next attempt then shows.
            if attempt == ATTEMPTS:
                self._give_up(outcome, problem)
            if await self._woken_within(self._backoff.next(problem.retry_after)):
                return  # `run` goes on with what is the latest now

    async def _attempt(self, outcome: Outcome) -> Problem | None:
        request = ReportConfigurationRequest(
            runtime_id=self._runtime_id,
            revision=outcome.revision,
            content_sha256=outcome.content_sha256,
            state=outcome.state,
            failures=outcome.failures,
            agent_version=self._agent_version,
        )
        try:
            await self._send(request)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
        except (IdentityRefused, OSError) as error:
            problem = Problem(grpc.StatusCode.UNAVAILABLE, str(error))
        else:
            self._counts.calls_ok += 1
            self._on_counted()
            return None
        _log.info("not reported", revision=outcome.revision, code=problem.code.name, failure=problem.message)
        self._counts.attempts_failed += 1
        self._on_counted()
        return problem

    def _give_up(self, outcome: Outcome, problem: Problem) -> None:
        _log.error(
            "the Director does not take the report",
            revision=outcome.revision,
            code=problem.code.name,
            reason=problem.reason,
            failure=problem.message,
            remedy=problem.remedy,
        )
        self._counts.calls_failed += 1
        self._on_counted()

    async def _woken_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

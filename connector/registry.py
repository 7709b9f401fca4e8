"""What the Connector asks the Director, whether an Application or a Runtime is registered, and what it tells it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import grpc
from moorage.director.v1.application_pb2 import ConfirmPairingRequest, GetApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import IdentityRefused
from certs.spiffe import Kind, SpiffeId
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from mesh.errors import Problem

ATTEMPTS = 10
"""How often the Director is told of one certificate, at most: with the waits between, for some minutes."""

TELLING_TIMEOUT = 20.0
"""Seconds that one attempt may take; a Director that is away is waited for within them."""

MOST_UNTOLD = 1000
"""Applications that the Director is being told of at a time; of more it learns by their first call."""

_MAY_PASS = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}
_log = telemetry.logger("registry")


class DirectorAway(Exception):
    """The Director gave no answer, or none that says whether the party exists."""


class Registry(Protocol):
    """Knows which Applications and Runtimes there are."""

    async def knows(self, party: SpiffeId) -> bool:
        """Whether the Application or Runtime is registered; raises `DirectorAway`."""


class DirectorRegistry:
    """The registry in the Director, asked over mTLS."""

    def __init__(self, channel: LiveChannel, timeout: timedelta) -> None:
        self._channel = channel
        self._timeout = timeout.total_seconds()

    async def knows(self, party: SpiffeId) -> bool:
        """Whether the Application or Runtime is registered; raises `DirectorAway`."""
        # A Director that is just restarting is waited for, within the same deadline.
        try:
            director = self._channel.stub(DirectorStub)
            if party.kind is Kind.APPLICATION:
                application = GetApplicationRequest(application_id=party.name)
                await director.GetApplication(application, timeout=self._timeout, wait_for_ready=True)
            else:
                runtime = GetRuntimeRequest(runtime_id=party.name)
                await director.GetRuntime(runtime, timeout=self._timeout, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            if problem.is_reason(NOT_FOUND[party.kind]):
                return False
            _log.warning("director did not answer", code=problem.code.name, reason=problem.reason)
            raise DirectorAway(problem.message) from error
        except (IdentityRefused, OSError) as error:
            _log.error("no identity to ask the director with", error=str(error))
            raise DirectorAway(str(error)) from error
        return True


def pairing_backoff() -> Backoff:
    """The waits between the attempts to tell the Director of one certificate."""
    return Backoff(timedelta(seconds=0.5), timedelta(minutes=1))


class Pairings:
    """Tells the Director which Applications were given a certificate, in the background and as well as it can.

    No enrolment waits for that, nor fails for it: what the Director was not told it learns by the Application's first
    call. `close` it to give up.
    """

    def __init__(self, channel: LiveChannel, backoff: Callable[[], Backoff] = pairing_backoff) -> None:
        self._channel = channel
        self._backoff = backoff
        self._telling: dict[str, asyncio.Task[None]] = {}

    @property
    def untold(self) -> int:
        """How many Applications the Director is still to be told of."""
        return len(self._telling)

    def enrolled(self, party: SpiffeId) -> None:
        """Take note that a party enrolled; of Applications the Director is told."""
        if party.kind is not Kind.APPLICATION or party.name in self._telling:
            return
        if self.untold >= MOST_UNTOLD:
            _log.warning("the director is not told of a pairing", party=str(party), untold=self.untold)
            return
        task = self._telling[party.name] = asyncio.create_task(self._tell(party))
        task.add_done_callback(lambda _: self._telling.pop(party.name, None))

    async def close(self) -> None:
        """Tell nobody any more."""
        telling = list(self._telling.values())
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)

    async def _tell(self, party: SpiffeId) -> None:
        backoff = self._backoff()
        for _ in range(ATTEMPTS):
            try:
                director = self._channel.stub(DirectorStub)
                request = ConfirmPairingRequest(application_id=party.name)
                await director.ConfirmPairing(request, timeout=TELLING_TIMEOUT, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                problem = Problem.of(error)
                if problem.code not in _MAY_PASS:
                    _log.warning("the director does not take a pairing", party=str(party), reason=problem.reason)
                    return
                wait = backoff.next(problem.retry_after)
            except (IdentityRefused, OSError):
                wait = backoff.next()
            else:
                return
            await asyncio.sleep(wait)
        _log.warning("the director could not be told of a pairing", party=str(party), attempts=ATTEMPTS)


NOT_FOUND = {
    Kind.APPLICATION: Reason.REASON_APPLICATION_NOT_FOUND,
    Kind.RUNTIME: Reason.REASON_RUNTIME_NOT_FOUND,
}
"""Why a party that is not registered is refused; parties of other kinds are not in the registry."""

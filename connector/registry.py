"""What the Connector asks the Director, whether an Application or a Runtime is registered, and what it has it do."""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import grpc
from moorage.director.v1.application_pb2 import ConfirmPairingRequest, GetApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest
from moorage.director.v1.webhook_pb2 import DeliverTokenRequest, DeliverTokenResponse
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

DELIVERY_TIMEOUT = 30.0
"""Seconds that handing over a token may take: the Director waits for the Application for 25 of them at most."""

MOST_UNTOLD = 1000
"""Applications that the Director is being told of at a time; of more it learns by their first call."""

MEMORY = timedelta(minutes=1)
"""For how long it is remembered that the Director knows a party."""

MOST_REMEMBERED = 20_000
"""Parties of which that is remembered; of more, those that were asked about longest ago are asked about again."""

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


@dataclass(frozen=True)
class Handover:
    """What came of handing a token to its Application. `failure` is empty where it arrived."""

    failure: str = ""

    @property
    def arrived(self) -> bool:
        """Whether the Application has it."""
        return not self.failure


class Registry(Protocol):
    """Knows which Applications and Runtimes there are."""

    async def knows(self, party: SpiffeId) -> bool:
        """Whether the Application or Runtime is registered; raises `DirectorAway`."""

    def knew(self, party: SpiffeId) -> bool:
        """Whether it was registered when that was asked last, within `MEMORY`."""

    async def takes_tokens(self, application_id: str) -> None:
        """Look whether the Application can be handed a token.

        Raises `Refusal` (APPLICATION_NOT_FOUND, PAIRING_URL_MISSING) and `DirectorAway`.
        """

    async def deliver(self, application_id: str, token_id: str, token: str, expire_time: datetime) -> Handover:
        """Hand a token to the Application, once. An answer that did not come is a failure, too."""


class DirectorRegistry:
    """The registry in the Director, asked over mTLS."""

    def __init__(
        self, channel: LiveChannel, timeout: timedelta, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._channel = channel
        self._timeout = timeout.total_seconds()
        self._monotonic = monotonic
        self._known: OrderedDict[SpiffeId, float] = OrderedDict()

    def knew(self, party: SpiffeId) -> bool:
        """Whether the Director said so within `MEMORY`; what it deletes meanwhile, it has the Connector ban."""
        at = self._known.get(party)
        return at is not None and self._monotonic() - at < MEMORY.total_seconds()

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
                self._known.pop(party, None)
                return False
            _log.warning("director did not answer", code=problem.code.name, reason=problem.reason)
            raise DirectorAway(problem.message) from error
        except (IdentityRefused, OSError) as error:
            _log.error("no identity to ask the director with", error=str(error))
            raise DirectorAway(str(error)) from error
        self._known[party] = self._monotonic()
        self._known.move_to_end(party)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return True

    async def takes_tokens(self, application_id: str) -> None:
        """Look whether the Application can be handed a token.

        Raises `Refusal` (APPLICATION_NOT_FOUND, PAIRING_URL_MISSING) and `DirectorAway`.
        """
        request = DeliverTokenRequest(application_id=application_id, token_id=str(uuid.UUID(int=0)))
        request.expire_time.GetCurrentTime()
        try:
            await self._deliver(request, self._timeout)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            refusal = problem.as_refusal()
            if refusal is not None and refusal.reason in _NOT_DELIVERABLE:
                raise refusal from error
            _log.warning("director did not answer", code=problem.code.name, reason=problem.reason)
            raise DirectorAway(problem.message) from error
        except (IdentityRefused, OSError) as error:
            _log.error("no identity to ask the director with", error=str(error))
            raise DirectorAway(str(error)) from error

    async def deliver(self, application_id: str, token_id: str, token: str, expire_time: datetime) -> Handover:
        """Hand a token to the Application, once. An answer that did not come is a failure, too."""
        request = DeliverTokenRequest(application_id=application_id, token_id=token_id, token=token)
        request.expire_time.FromDatetime(expire_time)
        try:
            response = await self._deliver(request, DELIVERY_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            return Handover(f"the Director did not say that it arrived: {problem.message or problem.code.name}")
        except (IdentityRefused, OSError) as error:
            return Handover(f"the Director could not be asked: {error}")
        if response.delivered:
            return Handover()
        return Handover(response.failure or "the pairing webhook did not take it")

    async def _deliver(self, request: DeliverTokenRequest, timeout: float) -> DeliverTokenResponse:
        director = self._channel.stub(DirectorStub)
        return await director.DeliverToken(request, timeout=timeout, wait_for_ready=True)


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


_NOT_DELIVERABLE = {Reason.REASON_APPLICATION_NOT_FOUND, Reason.REASON_PAIRING_URL_MISSING}

NOT_FOUND = {
    Kind.APPLICATION: Reason.REASON_APPLICATION_NOT_FOUND,
    Kind.RUNTIME: Reason.REASON_RUNTIME_NOT_FOUND,
}
"""Why a party that is not registered is refused; parties of other kinds are not in the registry."""

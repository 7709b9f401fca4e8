"""Renewal, a party's side: a new certificate in good time, for a new key, on the strength of the current one.

The folder belongs to whoever renews in it, but others may put another identity there, as an operator does who pairs
anew: it is found out within `LONGEST_NAP`, and renewed from then on.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NoReturn

import grpc
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses, RenewRequest, RenewResponse

from certs.authority import CLOCK_SKEW
from certs.clock import Clock, system_clock
from certs.identity import Identity, IdentityRefused, LoadedIdentity
from certs.keys import key_to_pem, new_key
from certs.request import make_csr
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.enrolment import IssuedIdentityRefused, checked, trust_bundle
from mesh.errors import Problem
from mesh.recovery import NotRecovered

LATEST = 2 / 3
"""At what part of its life a certificate is renewed at the latest."""

SPREAD = 1 / 3
"""Over what part of its life before that the moment is spread, so that those who enrolled together do not all renew
together: evenly, from a third of the life on, the peak is three halves of the mean."""

LONGEST_NAP = timedelta(seconds=30)
"""How often the wall clock is looked at. A host that slept, or whose clock was set, is found out within this time."""

_log = telemetry.logger("renewal")


class IdentityExpired(Exception):
    """The certificate ended before it could be renewed, and cannot be recovered: a new one-time token is needed."""


class RenewalLoop:
    """Keeps the identity in a folder alive.

    `renew` asks the Connector over a connection that shows the current certificate, within a deadline of its own.
    `on_renewed` is awaited once the new identity is on disk: it is to open new connections with it.
    `recover`, where it is given, has the certificate on disk replaced once it has expired (`mesh.recovery.recover`).
    """

    def __init__(
        self,
        identity: Identity,
        renew: Callable[[RenewRequest], Awaitable[RenewResponse]],
        on_renewed: Callable[[LoadedIdentity, PlaneAddresses], Awaitable[None]],
        *,
        recover: Callable[[], Awaitable[PlaneAddresses]] | None = None,
        clock: Clock = system_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._identity = identity
        self._renew = renew
        self._on_renewed = on_renewed
        self._recover = recover
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._asked = asyncio.Event()

    def renew_now(self) -> None:
        """Have `run` renew without waiting any longer; a renewal that is under way serves as well."""
        self._asked.set()

    async def run(self) -> NoReturn:
        """Renew time and again until cancelled; raises `IdentityExpired`, and `IdentityRefused` where there is none."""
        current = await asyncio.to_thread(self._identity.load)
        while True:
            current = await self._due(current)
            current, addresses = await self._renewed(current)
            await self._on_renewed(current, addresses)

    async def _due(self, current: LoadedIdentity) -> LoadedIdentity:
        """Wait until the identity on disk, which may become another meanwhile, is to be renewed; that one."""
        time = renewal_time(current, self._random())
        asked = self._asked.is_set()
        while not asked and (wait := time - self._clock()) > timedelta(0):
            asked = await self._nap(min(wait, LONGEST_NAP).total_seconds())
            there = await self._there(current)
            if there.serial != current.serial:
                current, time = there, renewal_time(there, self._random())
        return current

    async def _there(self, current: LoadedIdentity) -> LoadedIdentity:
        """The identity that is on disk; `current` where it cannot be read."""
        try:
            return await asyncio.to_thread(self._identity.load)
        except (IdentityRefused, OSError):
            return current

    async def _nap(self, seconds: float) -> bool:
        """Sleep, but no longer than until a renewal is asked for; True where one was."""
        waits = [asyncio.ensure_future(each) for each in (self._asked.wait(), self._sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        asked = self._asked.is_set()
        self._asked.clear()
        return asked

    async def _renewed(self, current: LoadedIdentity) -> tuple[LoadedIdentity, PlaneAddresses]:
        backoff = self._backoff(current)
        while (left := current.not_after - self._clock()) > timedelta(0):
            wait_at_least = None
            try:
                return await self._renew_once(current)
            except grpc.aio.AioRpcError as error:
                problem = Problem.of(error)
                failure, wait_at_least = f"{problem.code.name}: {problem.message}", problem.retry_after
            except (IssuedIdentityRefused, IdentityRefused, OSError) as error:
                failure = str(error)
            _log.warning(
                "not renewed", spiffe_id=str(current.spiffe_id), failure=failure, seconds_left=int(left.total_seconds())
            )
            await self._nap(min(backoff.next(wait_at_least), left.total_seconds()))
            current = await self._there(current)
        return await self._recovered(current)

    async def _recovered(self, current: LoadedIdentity) -> tuple[LoadedIdentity, PlaneAddresses]:
        ended = f"the certificate of {current.spiffe_id} ended at {current.not_after.isoformat()}"
        if self._recover is None:
            raise IdentityExpired(ended)
        # For as long as it takes: the Connector says when it is too late.
        backoff = self._backoff(current)
        while (await self._there(current)).not_after <= self._clock():
            wait_at_least = None
            try:
                addresses = await self._recover()
                self._asked.set()  # its key is the old one still
                return await asyncio.to_thread(self._identity.load), addresses
            except NotRecovered as error:
                raise IdentityExpired(f"{ended}, and {error}") from error
            except grpc.aio.AioRpcError as error:
                problem = Problem.of(error)
                failure, wait_at_least = f"{problem.code.name}: {problem.message}", problem.retry_after
            except (IssuedIdentityRefused, IdentityRefused, OSError) as error:
                failure = str(error)
            _log.warning("expired, and not recovered", spiffe_id=str(current.spiffe_id), failure=failure)
            await self._sleep(backoff.next(wait_at_least))
        return await self._renewed(await self._there(current))  # somebody put another one there

    def _backoff(self, current: LoadedIdentity) -> Backoff:
        longest = min(_life(current) / 20, timedelta(minutes=5))
        return Backoff(min(longest, timedelta(seconds=1)), longest, self._random)

    async def _renew_once(self, current: LoadedIdentity) -> tuple[LoadedIdentity, PlaneAddresses]:
        # A new key for every try: the plane certifies a key once, and a reply that was lost may have done so.
        key = new_key()
        response = await self._renew(RenewRequest(csr=make_csr(key)))
        issued = response.identity
        spiffe_id = checked(issued, key, trust_bundle(issued), self._clock())
        if spiffe_id != current.spiffe_id:
            raise IssuedIdentityRefused(f"the Connector sent a certificate for {spiffe_id}")
        await asyncio.to_thread(
            self._identity.write,
            key_to_pem(key),
            issued.certificate_chain_pem.encode(),
            issued.trust_bundle_pem.encode(),
        )
        renewed = await asyncio.to_thread(self._identity.load)
        self._asked.clear()
        _log.info("renewed", spiffe_id=str(spiffe_id), serial=renewed.serial, not_after=renewed.not_after.isoformat())
        return renewed, response.addresses


def renewal_time(identity: LoadedIdentity, draw: float) -> datetime:
    """When to renew, for a random `draw` in [0, 1): from `LATEST - SPREAD` to `LATEST` of the certificate's life."""
    return _begin(identity) + _life(identity) * (LATEST - SPREAD * draw)


def _life(identity: LoadedIdentity) -> timedelta:
    return identity.not_after - _begin(identity)


def _begin(identity: LoadedIdentity) -> datetime:
    # Certificates are dated back, which must not count: of a life of seconds it would be most.
    return min(identity.not_before + CLOCK_SKEW, identity.not_after)

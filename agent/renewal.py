"""Keeps the agent's certificate alive, and renews it at once when the operator says so."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import NoReturn

from moorage.connector.v1.enrolment_pb2 import PlaneAddresses, RenewRequest, RenewResponse

from certs.clock import Clock
from certs.identity import Identity, LoadedIdentity
from mesh.renewal import LATEST, SPREAD, RenewalLoop


class Renewal:
    """`mesh.renewal.RenewalLoop` with a bell: `now` cuts its waiting short."""

    def __init__(
        self,
        identity: Identity,
        renew: Callable[[RenewRequest], Awaitable[RenewResponse]],
        on_renewed: Callable[[LoadedIdentity, PlaneAddresses], Awaitable[None]],
        *,
        clock: Clock,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._identity = identity
        self._renew = renew
        self._on_renewed = on_renewed
        self._clock = clock
        self._random = random
        self._asked = asyncio.Event()

    def now(self) -> None:
        """Renew at once; what is being renewed already serves as well."""
        self._asked.set()

    async def run(self) -> NoReturn:
        """Renew until cancelled; raises as the loop does: `IdentityExpired` where only a new token helps."""
        draw = self._random
        while True:
            with contextlib.suppress(_Asked):
                await RenewalLoop(
                    self._identity, self._renew, self._renewed, clock=self._clock, sleep=self._sleep, random=draw
                ).run()
            draw = itertools.chain((_AT_ONCE,), iter(self._random, None)).__next__

    async def _renewed(self, identity: LoadedIdentity, addresses: PlaneAddresses) -> None:
        self._asked.clear()
        await self._on_renewed(identity, addresses)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return
        self._asked.clear()
        raise _Asked


class _Asked(Exception):
    """Ends the waiting."""


_AT_ONCE = LATEST / SPREAD
"""The draw that puts the moment of renewal at the beginning of the certificate's life, which is past."""

"""Departures: of what was deleted the Connector is told, so that its certificates count no longer and it gets no new.

What is deleted is noted in the transaction that deletes it, and one durable workflow each tells the Connector, for as
long as that takes. Until then the Connector itself finds out that a party is gone, when that asks for a certificate.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any, Protocol

import grpc
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.identity_pb2 import RevocationAction, RevokeIdentityRequest
from moorage.connector.v1.revocation_pb2 import RevocationReason

from certs.errors import CertsError
from director.changes import Kind
from director.hand_over import HandOver
from director.store import departures
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.database import Database
from mesh.durable import Durable, Run, Workflow
from mesh.errors import Refusal, cause_of

WORKFLOW = "revoke-departed"

MOST_TRIED = 200
"""Departures that are tried at a time, the oldest first."""

CALL_TIMEOUT = 10.0
"""Seconds that the Connector may take for one."""

_CONCURRENCY = 8
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_log = telemetry.logger("departures")


class Revoke(Protocol):
    """Revokes the identity of a party that was deleted."""

    async def __call__(self, kind: Kind, party_id: str) -> None:
        """Ban it; to do so again is harmless. Raises whatever shows that it is not certain to be done."""


class Departures:
    """Has the identities of what was deleted revoked, until it is stopped."""

    def __init__(self, database: Database, revoke: Revoke, *, random: Callable[[], float] = random.random) -> None:
        self._database = database
        self._revoke = revoke
        self._random = random
        self._turns = asyncio.Semaphore(_CONCURRENCY)
        waiting = partial(departures.waiting, most=MOST_TRIED)
        self._hand_over = HandOver(database, departures.TOPIC, WORKFLOW, waiting, random)

    @property
    def workflows(self) -> dict[str, Workflow]:
        """What `mesh.durable` has to know."""
        return {WORKFLOW: self._follow}

    async def run(self, durable: Durable) -> None:
        """Hand over each departure to what is launched already, until cancelled."""
        await self._hand_over.run(durable)

    async def _follow(self, run: Run, party_id: str, kind: str) -> None:
        wait = _FIRST_WAIT
        for number in count(1):
            if await run.step(f"attempt-{number}", self._attempting(party_id, Kind(kind), number)):
                return
            await run.sleep(wait * (1 - self._random() / 2))
            wait = min(wait * 2, _LONGEST_WAIT)

    def _attempting(self, party_id: str, kind: Kind, number: int) -> Callable[[], Coroutine[Any, Any, bool]]:
        async def attempt() -> bool:
            async with self._turns:
                try:
                    await self._revoke(kind, party_id)
                    await self._database.write(departures.settle, party_id)
                except (grpc.RpcError, Refusal, CertsError, OSError) as error:
                    if number == 1:
                        _log.warning("a departure is not told yet", party_id=party_id, failure=cause_of(error))
                    return False
            return True

        return attempt


def by_connector(channel: LiveChannel) -> Revoke:
    """Has the Connector do it."""

    async def revoke(kind: Kind, party_id: str) -> None:
        request = RevokeIdentityRequest(
            action=RevocationAction.REVOCATION_ACTION_BAN,
            reason=RevocationReason.REVOCATION_REASON_CESSATION_OF_OPERATION,
            note="deleted",
        )
        if kind is Kind.APPLICATION:
            request.application_id = party_id
        else:
            request.runtime_id = party_id
        await channel.stub(ConnectorStub).RevokeIdentity(request, timeout=CALL_TIMEOUT)

    return revoke

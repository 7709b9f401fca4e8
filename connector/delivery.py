"""Delivery of a one-time token to its Application: from memory, once, and what came of it is noted.

Until then the token's delivery is PENDING, and so it stays where the Connector ends first: the token is at rest
nowhere, so nobody could try again. One that was not taken, or may not have been, is revoked at once.
"""

import asyncio
from datetime import datetime
from typing import Any

from moorage.connector.v1.token_pb2 import TokenDeliveryState

from certs.clock import Clock
from connector.registry import Handover, Registry
from connector.store import Action, Origin, Transaction, record
from connector.store.tokens import revoke_token, settle_delivery
from mesh import telemetry
from mesh.database import Database

STOP_WITHIN = 2.0
"""Seconds that deliveries under way have to end in when the Connector stops."""

_log = telemetry.logger("delivery")


class Deliveries:
    """Hands tokens over, each in a task of its own: a caller who goes leaves no delivery unnoted. `close` it."""

    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._under_way: set[asyncio.Task[Any]] = set()

    async def deliver(
        self, application_id: str, token_id: str, token: str, expire_time: datetime, origin: Origin
    ) -> None:
        """Hand over a token that is in the database, and note what came of it there.

        Raises `Refusal` (DATABASE_UNAVAILABLE) where that could not be noted.
        """
        task = asyncio.create_task(self._deliver(application_id, token_id, token, expire_time, origin))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Wait a little for what is under way, then leave it PENDING."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=STOP_WITHIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(
        self, application_id: str, token_id: str, token: str, expire_time: datetime, origin: Origin
    ) -> None:
        handover = await self._registry.deliver(application_id, token_id, token, expire_time)
        await self._database.write(_settle, token_id, handover, self._clock(), origin)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("what came of a delivery is not noted", error=str(error))


def _settle(tx: Transaction, token_id: str, handover: Handover, now: datetime, origin: Origin) -> None:
    if handover.arrived:
        settle_delivery(tx, token_id, TokenDeliveryState.TOKEN_DELIVERY_STATE_DELIVERED, now)
        record(tx, Action.TOKEN_DELIVERED, origin, now, token_id=token_id)
        return
    settle_delivery(tx, token_id, TokenDeliveryState.TOKEN_DELIVERY_STATE_FAILED, now, handover.failure)
    if revoke_token(tx, token_id, now):
        record(tx, Action.TOKEN_REVOKED, origin, now, token_id=token_id, detail="not delivered")

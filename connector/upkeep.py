"""What the ledger needs from time to time, done by every instance: nothing of it is wrong to do twice."""

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from certs.clock import Clock
from connector.store.revocations import forget
from connector.uses import end_outlived
from mesh import telemetry
from mesh.database import Database

INTERVAL = 5.0
"""Seconds between two rounds, give or take a fifth."""

OVERLAP = timedelta(minutes=10)
"""How far a round looks back behind the one before: a transaction may be late, or another instance's clock behind."""

MOST_FORGOTTEN = 1000
"""Revisions by which one transaction shortens the log of revocations."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_log = telemetry.logger("upkeep")


@dataclass
class Upkeep:
    """Ends what has outlived its renewal by the grace, and forgets what the log of revocations need not keep."""

    database: Database
    clock: Clock
    renewal_grace: timedelta
    revocation_retention: timedelta
    looked_until: datetime = _BEGINNING
    """Up to when replaced certificates need not be looked at any more."""

    async def run(self) -> NoReturn:
        """Do it time and again, until cancelled."""
        while True:
            try:
                await self.once()
            except Exception as error:  # whatever it is: the next round must come
                _log.warning("upkeep failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311 - spread, not secrecy

    async def once(self) -> None:
        """One round; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        now = self.clock()
        until = now - self.renewal_grace
        ended = await self.database.write(end_outlived, self.looked_until, until, now)
        self.looked_until = until - OVERLAP
        if ended:
            _log.info("ended what was renewed and used on", certificates=ended)
        while await self.database.write(forget, now - self.revocation_retention, MOST_FORGOTTEN):
            pass

"""The certificate revocation lists that the Connector gives out (RFC 5280, section 5).

A list is signed when somebody asks and the last one does not tell of all that was revoked, or is a minute old. Its
number is one more than that of the last one, and the database takes it only then: of two instances that sign at once
one gives out the other's.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.revocation_pb2 import GetRevocationListResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from certs.revocation_list import RevokedEntry, build
from connector.authority import IssuingAuthority
from connector.store import Transaction
from connector.store.crls import StoredList, entries_of, read_list, replace_list
from connector.store.revocations import read_ledger
from mesh.database import Database
from mesh.errors import Refusal

FRESH = timedelta(minutes=1)
"""How old a list is, at most, when it is given out by the authority that issues now."""

_MOST_TRIES = 5


class RevocationLists:
    """Gives out the list of the authority that issues now, and the last ones of those before it.

    `lifetime` is after how long, at the latest, there is a new one.
    """

    def __init__(self, database: Database, authority: IssuingAuthority, lifetime: timedelta, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._lifetime = lifetime
        self._clock = clock
        self._turn = asyncio.Lock()
        self._looks = 0
        self._current: StoredList | None = None

    async def fetch(self, authority_sha256: bytes | None) -> GetRevocationListResponse:
        """The list of an authority; of the one that issues now, where that is None.

        Raises `Refusal` (AUTHORITY_NOT_FOUND) for one that the plane does not have, or that never signed a list.
        """
        own = self._authority.sha256
        if authority_sha256 is not None and authority_sha256 != own:
            stored = await self._database.read(read_list, authority_sha256)
            if stored is None:
                raise Refusal(
                    Reason.REASON_AUTHORITY_NOT_FOUND,
                    f"there is no list of an authority {authority_sha256.hex()}",
                    field="authority_sha256",
                )
            return _response(authority_sha256, stored)
        return _response(own, await self._shared())

    async def _shared(self) -> StoredList:
        """The current list. Those who wait while one is signed share the next one: many cost no more than two."""
        looks = self._looks
        async with self._turn:
            if self._looks > looks and self._current is not None:
                return self._current  # looked at after this was asked for
            self._looks += 1
            self._current = None
            self._current = await self._look()
            return self._current

    async def _look(self) -> StoredList:
        for _ in range(_MOST_TRIES):
            now = self._clock()
            found = await self._database.read(_look, self._authority.sha256, now)
            if found.is_fresh and found.last is not None:
                return found.last
            new = await asyncio.to_thread(self._sign, found, now)
            if await self._database.write(replace_list, self._authority.sha256, new):
                return new
        raise Refusal(Reason.REASON_NOT_READY, "the list is being signed elsewhere", retry_after=timedelta(seconds=1))

    def _sign(self, found: "_Found", now: datetime) -> StoredList:
        number = found.last.number + 1 if found.last else 1
        this_update = now.replace(microsecond=0)  # as the list says it
        next_update = this_update + self._lifetime
        return StoredList(
            number=number,
            revision=found.revision,
            this_update=this_update,
            next_update=next_update,
            crl_der=build(self._authority.authority, found.entries, number, this_update, next_update),
        )


@dataclass(frozen=True)
class _Found:
    """The last list, and what is to be in the next one, unless that is fresh."""

    last: StoredList | None
    is_fresh: bool
    revision: int
    entries: list[RevokedEntry]


def _look(tx: Transaction, authority_sha256: bytes, now: datetime) -> _Found:
    revision = read_ledger(tx).revision
    last = read_list(tx, authority_sha256)
    if last is not None and last.revision == revision and abs(now - last.this_update) < FRESH:
        return _Found(last, True, revision, [])
    # What ended since the last list is in one more (RFC 5280, section 3.3).
    ending_after = min(now, last.this_update) if last is not None else now
    return _Found(last, False, revision, entries_of(tx, authority_sha256, ending_after))


def _response(authority_sha256: bytes, stored: StoredList) -> GetRevocationListResponse:
    response = GetRevocationListResponse(
        crl_der=stored.crl_der, authority_sha256=authority_sha256.hex(), crl_number=stored.number
    )
    for name, time in (("this_update", stored.this_update), ("next_update", stored.next_update)):
        timestamp: Timestamp = getattr(response, name)
        timestamp.FromDatetime(time)
    return response

"""One-time tokens: given out for parties that the Director knows, and kept only as the hash of their secret."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from certs.spiffe import SpiffeId
from certs.token import SECRET_BYTES, OneTimeToken
from connector import store
from connector.authority import IssuingAuthority
from connector.registry import NOT_FOUND, DirectorAway, Registry
from connector.store import Action, Origin, Transaction
from mesh.database import Database
from mesh.errors import Refusal

DIRECTOR_RETRY_AFTER = timedelta(seconds=2)


@dataclass(frozen=True)
class IssuedToken:
    """A token on its way to whoever asked for it; `text` is the only copy."""

    text: str = field(repr=False)
    token_id: str
    spiffe_id: SpiffeId
    expire_time: datetime


@dataclass(frozen=True)
class TokenIssuer:
    """Gives out one-time tokens. `random_bytes(n)` must be fit for secrets."""

    database: Database
    registry: Registry
    authority: IssuingAuthority
    enrolment_address: str
    default_ttl: timedelta
    clock: Clock
    random_bytes: Callable[[int], bytes]

    async def issue(self, party: SpiffeId, ttl: timedelta | None, origin: Origin) -> IssuedToken:
        """A token for a registered Application or Runtime. It supersedes the unused ones that the party has.

        Raises `Refusal`: APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND, DEPENDENCY_UNAVAILABLE.
        """
        await self._check_registered(party)
        token = OneTimeToken(self.enrolment_address, self.authority.root_pins, self.random_bytes(SECRET_BYTES))
        now = self.clock()
        issued = IssuedToken(
            text=token.encode(),
            token_id=str(uuid.UUID(bytes=self.random_bytes(16), version=4)),
            spiffe_id=party,
            expire_time=now + (ttl or self.default_ttl),
        )
        await self.database.write(_record, issued, token.secret_sha256(), now, origin)
        return issued

    async def _check_registered(self, party: SpiffeId) -> None:
        try:
            known = await self.registry.knows(party)
        except DirectorAway as error:
            raise Refusal(
                Reason.REASON_DEPENDENCY_UNAVAILABLE,
                "the Director did not say whether the party exists",
                metadata={"service": "director"},
                retry_after=DIRECTOR_RETRY_AFTER,
            ) from error
        if not known:
            raise Refusal(NOT_FOUND[party.kind], f"there is no {party.kind} {party.name}", field=f"{party.kind}_id")


def _record(tx: Transaction, issued: IssuedToken, secret_sha256: bytes, now: datetime, origin: Origin) -> None:
    spiffe_id = str(issued.spiffe_id)
    store.insert_token(tx, issued.token_id, secret_sha256, spiffe_id, now, issued.expire_time)
    store.record(tx, Action.TOKEN_ISSUED, origin, now, spiffe_id=spiffe_id, token_id=issued.token_id)

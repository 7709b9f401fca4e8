"""What the Connector stands on in these tests: a clock that is set, and a registry that knows what it is told."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from certs.policy import profiles
from certs.spiffe import Kind, SpiffeId
from connector.authority import IssuingAuthority
from connector.delivery import Deliveries
from connector.limits import Allowance, RateLimits
from connector.registry import DirectorAway, Handover
from connector.store import Origin
from connector.tokens import TokenIssuer, Ttl
from mesh.database import Database
from mesh.errors import Refusal

TRUST_DOMAIN = "plane.test"
ENROLMENT_ADDRESS = "plane.test:7445"
START = datetime(2030, 1, 1, tzinfo=UTC)
ORIGIN = Origin(actor="spiffe://plane.test/admin/ann", address="ipv4:127.0.0.1:40000", request_id="req-1")


@dataclass
class FixedClock:
    """Stands still until a test sets it."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class RegistryDouble:
    """Stands in for the Director: knows the parties in `known`, or is away; hands over tokens as it is told."""

    known: set[SpiffeId] = field(default_factory=set)
    away: bool = False
    refusal: Refusal | None = None
    handover: Handover = field(default_factory=Handover)
    delivered: list[str] = field(default_factory=list)
    """The tokens."""
    on_delivery: Callable[[], Awaitable[None]] | None = None

    def knew(self, party: SpiffeId) -> bool:
        return False

    async def knows(self, party: SpiffeId) -> bool:
        if self.away:
            raise DirectorAway("away")
        return party in self.known

    async def takes_tokens(self, application_id: str) -> None:
        if self.away:
            raise DirectorAway("away")
        if self.refusal:
            raise self.refusal

    async def deliver(self, application_id: str, token_id: str, token: str, expire_time: datetime) -> Handover:
        self.delivered.append(token)
        if self.on_delivery:
            await self.on_delivery()
        return self.handover


def token_issuer(
    database: Database,
    registry: RegistryDouble,
    authority: IssuingAuthority,
    clock: FixedClock,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> TokenIssuer:
    """One whose tokens work for an hour, unless told, and for a day at most; an administrator's for half an hour."""
    return TokenIssuer(
        database=database,
        registry=registry,
        deliveries=Deliveries(database, registry, clock),
        authority=authority,
        enrolment_address=ENROLMENT_ADDRESS,
        ttl=Ttl(default=ttl, ceiling=lambda _: timedelta(days=1)),
        clock=clock,
        random_bytes=random_bytes,
    )


def ttl(kind: Kind) -> timedelta:
    return timedelta(minutes=30) if kind is Kind.ADMIN else timedelta(hours=1)


def lifetime(kind: Kind) -> timedelta:
    return timedelta(days=1) if kind is Kind.RUNTIME else timedelta(days=30)


PROFILES = profiles(lifetime, lambda _: timedelta(days=90))
UNLIMITED = RateLimits({"address": Allowance(0, 0), "identity": Allowance(0, 0)})

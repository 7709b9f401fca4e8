"""What the Connector stands on in these tests: a clock that is set, and a registry that knows what it is told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from certs.spiffe import Kind, SpiffeId
from connector.registry import DirectorAway
from connector.store import Origin

TRUST_DOMAIN = "plane.test"
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
    """Stands in for the Director: knows the parties in `known`, or is away."""

    known: set[SpiffeId] = field(default_factory=set)
    away: bool = False

    async def knows(self, party: SpiffeId) -> bool:
        if self.away:
            raise DirectorAway("away")
        return party in self.known


def lifetime(kind: Kind) -> timedelta:
    return timedelta(days=1) if kind is Kind.RUNTIME else timedelta(days=30)

"""How often a network address, or an identity, may ask for what costs the Connector a signature.

Each has a bucket of tokens that fills at a steady rate: so many calls at once, and so many a second in the long run.
The buckets are in memory and an instance's own. They are there to keep one party from taking all of the Connector's
time; that nobody guesses a secret of 256 bits needs no counting.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import unquote

from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal

MOST_BUCKETS = 20_000
"""Of one kind. Beyond them the one that was used longest ago is forgotten, which gives it back its burst."""

LimitKind = Literal["address", "identity"]

_IPV6_PREFIX = 64  # what a single customer is given at least (RFC 6177): within it anybody has 2^64 addresses


@dataclass(frozen=True)
class Allowance:
    """`burst` calls at once, and `rate` calls a second in the long run; as many as they like where that is 0."""

    rate: float
    burst: int


class RateLimits:
    """The buckets of one instance. `monotonic` gives seconds that never go back."""

    def __init__(
        self,
        allowances: Mapping[LimitKind, Allowance],
        monotonic: Callable[[], float] = time.monotonic,
        most: int = MOST_BUCKETS,
    ) -> None:
        self._buckets = {kind: _Buckets(allowance, monotonic, most) for kind, allowance in allowances.items()}

    def take(self, kind: LimitKind, key: str) -> None:
        """Charge one call to `key`.

        That is the peer as gRPC names it (`ipv4:192.0.2.1:40000`) for an address, and the SPIFFE ID for an identity.
        Raises `Refusal` (RATE_LIMITED) with the time until the next one is let through.
        """
        wait = self._buckets[kind].take(_without_port(key) if kind == "address" else key)
        if wait > 0:
            raise Refusal(
                Reason.REASON_RATE_LIMITED,
                f"the {kind} has asked too often of late",
                metadata={"limit": kind},
                retry_after=timedelta(seconds=math.ceil(wait * 1000) / 1000),
            )


class _Buckets:
    """Buckets of one kind: how full each was, and when. Those that were used last are at the end."""

    def __init__(self, allowance: Allowance, monotonic: Callable[[], float], most: int) -> None:
        self._allowance = allowance
        self._monotonic = monotonic
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one token: 0, or the seconds until there is one. A call that is refused takes none."""
        if not self._allowance.rate:
            return 0.0
        now = self._monotonic()
        level, at = self._levels.pop(key, (float(self._allowance.burst), now))
        level = min(self._allowance.burst, level + (now - at) * self._allowance.rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._allowance.rate
        self._levels[key] = (level if wait else level - 1, now)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return wait


def _without_port(peer: str) -> str:
    """The address of a peer, or of its network: of IPv6 the /64. A peer that is no IP address is taken as it is."""
    family, _, rest = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    host, _, _ = unquote(rest).rpartition(":")
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, _IPV6_PREFIX), strict=False))
    return str(address)

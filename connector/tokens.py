"""One-time tokens: given out for parties of every kind, and kept only as the hash of their secret."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from certs.spiffe import Kind, SpiffeId
from certs.token import SECRET_BYTES, OneTimeToken
from connector.authority import IssuingAuthority
from connector.delivery import Deliveries
from connector.registry import NOT_FOUND, DirectorAway, Registry
from connector.store import Action, Origin, Transaction, record
from connector.store.identities import is_banned
from connector.store.tokens import NewToken, insert_token
from mesh.database import Database
from mesh.errors import Refusal

DIRECTOR_RETRY_AFTER = timedelta(seconds=2)
SHORTEST_TTL = timedelta(seconds=1)


@dataclass(frozen=True)
class ToIssue:
    """What is asked for."""

    party: SpiffeId
    ttl: timedelta | None = None
    """How long it is to work; None for what is usual for the kind of party."""
    deliver: bool = False
    """Whether it is handed to the Application, and shown to nobody else."""
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    """Where a service will be called; only a service has any."""


@dataclass(frozen=True)
class IssuedToken:
    """A token on its way to whoever asked for it; `text` is the only copy, empty where it was to be delivered."""

    text: str = field(repr=False)
    token_id: str
    spiffe_id: SpiffeId
    expire_time: datetime


@dataclass(frozen=True)
class Ttl:
    """How long tokens work: for each kind of party, unless whoever asks says so, and at most."""

    default: Callable[[Kind], timedelta]
    ceiling: Callable[[Kind], timedelta]

    def checked(self, kind: Kind, asked: timedelta | None) -> timedelta:
        """What a token for this kind of party is given; raises `Refusal` (FIELD_INVALID)."""
        ceiling = self.ceiling(kind)
        if asked is None:
            return self.default(kind)
        if not SHORTEST_TTL <= asked <= ceiling:
            raise Refusal(
                Reason.REASON_FIELD_INVALID,
                f"must be 1 to {ceiling.total_seconds():g} seconds for the token of a party of kind {kind}",
                field="ttl",
            )
        return asked


@dataclass(frozen=True)
class TokenIssuer:
    """Gives out one-time tokens. `random_bytes(n)` must be fit for secrets."""

    database: Database
    registry: Registry
    deliveries: Deliveries
    authority: IssuingAuthority
    enrolment_address: str
    ttl: Ttl
    clock: Clock
    random_bytes: Callable[[int], bytes]

    async def issue(self, asked: ToIssue, origin: Origin) -> IssuedToken:
        """A token for the party. It supersedes the unused ones that the party has.

        Raises `Refusal`: FIELD_INVALID, APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND, PAIRING_URL_MISSING,
        IDENTITY_BANNED, DEPENDENCY_UNAVAILABLE.
        """
        party = asked.party
        ttl = self.ttl.checked(party.kind, asked.ttl)
        dns_names, ip_addresses = _host_names(asked.dns_names), _addresses(asked.ip_addresses)
        await self._check_registered(party, deliver=asked.deliver)
        token = OneTimeToken(self.enrolment_address, self.authority.root_pins, self.random_bytes(SECRET_BYTES))
        now = self.clock()
        new = NewToken(
            token_id=str(uuid.UUID(bytes=self.random_bytes(16), version=4)),
            secret_sha256=token.secret_sha256(),
            spiffe_id=str(party),
            issue_time=now,
            expire_time=now + ttl,
            issuer=origin.actor,
            dns_names=dns_names,
            ip_addresses=ip_addresses,
            to_be_delivered=asked.deliver,
        )
        await self.database.write(_record, new, origin)
        if asked.deliver:
            await self.deliveries.deliver(party.name, new.token_id, token.encode(), new.expire_time, origin)
        text = "" if asked.deliver else token.encode()
        return IssuedToken(text, new.token_id, party, new.expire_time)

    async def _check_registered(self, party: SpiffeId, *, deliver: bool) -> None:
        try:
            if deliver:
                await self.registry.takes_tokens(party.name)
            elif party.kind in NOT_FOUND and not await self.registry.knows(party):
                raise Refusal(NOT_FOUND[party.kind], f"there is no {party.kind} {party.name}", field=f"{party.kind}_id")
        except DirectorAway as error:
            raise director_away() from error


def director_away() -> Refusal:
    """What is said to a caller for whom the Director would have had to be asked."""
    return Refusal(
        Reason.REASON_DEPENDENCY_UNAVAILABLE,
        "the Director did not say whether the party exists",
        metadata={"service": "director"},
        retry_after=DIRECTOR_RETRY_AFTER,
    )


def _record(tx: Transaction, token: NewToken, origin: Origin) -> None:
    insert_token(tx, token)
    if is_banned(tx, token.spiffe_id):  # looked at under the identity's lock, which inserting took
        raise Refusal(Reason.REASON_IDENTITY_BANNED, f"{token.spiffe_id} is banned")
    spiffe_id, token_id = token.spiffe_id, token.token_id
    record(tx, Action.TOKEN_ISSUED, origin, token.issue_time, spiffe_id=spiffe_id, token_id=token_id)


def _host_names(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if _is_address(name):
            raise Refusal(
                Reason.REASON_FIELD_INVALID, f"{name} is an IP address, which goes to ip_addresses", field="dns_names"
            )
    return tuple(names)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _addresses(texts: Sequence[str]) -> tuple[str, ...]:
    """In their canonical form, each once."""
    addresses = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            address = None
        if address is None or (isinstance(address, IPv6Address) and address.scope_id):
            raise Refusal(
                Reason.REASON_FIELD_INVALID, "must be IP addresses without a zone or a prefix", field="ip_addresses"
            )
        addresses.append(str(address))
    return tuple(dict.fromkeys(addresses))

"""Statements upon one-time tokens."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moorage.connector.v1.token_pb2 import TokenDeliveryState, TokenState
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, insert, or_, select, tuple_, update

from connector.store.base import Transaction, from_micros, from_micros_if, to_micros
from connector.store.locks import lock_identity
from connector.store.tables import certificates, tokens
from mesh.database import Prepared


@dataclass(frozen=True)
class NewToken:
    """A token that is about to be given out."""

    token_id: str
    secret_sha256: bytes
    spiffe_id: str
    issue_time: datetime
    expire_time: datetime
    issuer: str
    """SPIFFE ID of whoever asked for it."""
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    to_be_delivered: bool = False


@dataclass(frozen=True)
class StoredToken:
    """What the plane keeps of a one-time token."""

    token_id: str
    spiffe_id: str
    issuer: str
    issue_time: datetime
    expire_time: datetime
    use_time: datetime | None
    revoke_time: datetime | None
    superseded: bool
    public_key_sha256: bytes | None
    """The key that it was used with; None while it is unused."""
    delivery_state: int | None
    """A number of `TokenDeliveryState`; None where whoever asked for it was shown it."""
    delivery_time: datetime | None
    delivery_failure: str
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]

    @property
    def revoked(self) -> bool:
        """Whether it was revoked unused."""
        return self.revoke_time is not None

    def state(self, now: datetime) -> TokenState.ValueType:
        """What has become of it: the first that holds."""
        if self.use_time is not None:
            return TokenState.TOKEN_STATE_USED
        if self.revoked:
            return TokenState.TOKEN_STATE_REVOKED
        if self.superseded:
            return TokenState.TOKEN_STATE_SUPERSEDED
        return TokenState.TOKEN_STATE_EXPIRED if self.expire_time <= now else TokenState.TOKEN_STATE_ACTIVE


def insert_token(tx: Transaction, token: NewToken) -> None:
    """Add a token; the unused ones that the identity had are superseded and work no more."""
    lock_identity(tx, token.spiffe_id)  # of two that are issued at once, one supersedes the other
    tx.execute(
        update(tokens)
        .where(tokens.c.spiffe_id == token.spiffe_id, tokens.c.use_time.is_(None), tokens.c.supersede_time.is_(None))
        .values(supersede_time=to_micros(token.issue_time))
    )
    tx.execute(
        insert(tokens).values(
            token_id=token.token_id,
            secret_sha256=token.secret_sha256,
            spiffe_id=token.spiffe_id,
            issue_time=to_micros(token.issue_time),
            expire_time=to_micros(token.expire_time),
            issuer=token.issuer,
            dns_names=json.dumps(token.dns_names) if token.dns_names else None,
            ip_addresses=json.dumps(token.ip_addresses) if token.ip_addresses else None,
            delivery_state=TokenDeliveryState.TOKEN_DELIVERY_STATE_PENDING if token.to_be_delivered else None,
        )
    )


def use_token(tx: Transaction, secret_sha256: bytes, public_key_sha256: bytes, now: datetime) -> StoredToken | None:
    """Use up the token, in one statement that only one caller can win; None when it cannot be used."""
    micros = to_micros(now)
    used = {"secret": secret_sha256, "now": micros, "use_time": micros, "public_key_sha256": public_key_sha256}
    row = _USE.first(tx, used)
    return _token(row) if row else None


def find_token(tx: Transaction, secret_sha256: bytes) -> StoredToken | None:
    """The token, whatever became of it."""
    row = _FIND.first(tx, {"secret": secret_sha256})
    return _token(row) if row else None


def read_token(tx: Transaction, token_id: str) -> tuple[StoredToken, str] | None:
    """The token by its id, with the serial number of what it earned, empty for nothing; None where there is none."""
    row = tx.execute(_with_serial().where(tokens.c.token_id == token_id)).mappings().one_or_none()
    return (_token(row), row["serial_number"] or "") if row else None


def page_of_tokens(
    tx: Transaction,
    spiffe_id: str,
    states: Collection[int],
    now: datetime,
    after: tuple[int, str] | None,
    limit: int,
) -> list[tuple[StoredToken, str]]:
    """Those issued last first, each as `read_token` gives it; the key of a page is the issue time and the id.

    Narrowed to an identity and to states (numbers of `TokenState`), unless these are empty.
    """
    query = _with_serial().order_by(tokens.c.issue_time.desc(), tokens.c.token_id.desc()).limit(limit)
    if spiffe_id:
        query = query.where(tokens.c.spiffe_id == spiffe_id)
    if states:
        conditions = _states(now)
        query = query.where(or_(*(conditions[state] for state in states)))
    if after is not None:
        query = query.where(tuple_(tokens.c.issue_time, tokens.c.token_id) < after)
    return [(_token(row), row["serial_number"] or "") for row in tx.execute(query).mappings()]


def place_of_token(token: StoredToken) -> tuple[int, str]:
    """Where it stands in a list."""
    return to_micros(token.issue_time), token.token_id


def revoke_token(tx: Transaction, token_id: str, now: datetime) -> bool:
    """Revoke a token, if it could be used; says whether it could."""
    return _revoke(tx, tokens.c.token_id == token_id, now) > 0


def revoke_unused(tx: Transaction, spiffe_id: str, now: datetime) -> int:
    """Revoke each token of the identity that could be used; says how many those were."""
    lock_identity(tx, spiffe_id)
    return _revoke(tx, tokens.c.spiffe_id == spiffe_id, now)


def active_tokens(tx: Transaction, spiffe_id: str, now: datetime) -> int:
    """How many tokens the identity has that can be used."""
    query = select(func.count()).select_from(tokens).where(tokens.c.spiffe_id == spiffe_id, _is_active(now))
    return tx.execute(query).scalar_one()


def settle_delivery(
    tx: Transaction, token_id: str, state: TokenDeliveryState.ValueType, attempt_time: datetime, failure: str = ""
) -> None:
    """Note what came of handing the token to its Application."""
    tx.execute(
        update(tokens)
        .where(tokens.c.token_id == token_id)
        .values(delivery_state=state, delivery_time=to_micros(attempt_time), delivery_failure=failure or None)
    )


def _revoke(tx: Transaction, which: ColumnElement[bool], now: datetime) -> int:
    # An instance of the release before knows only the time of superseding.
    micros = to_micros(now)
    revoked = tx.execute(update(tokens).where(which, _is_active(now)).values(revoke_time=micros, supersede_time=micros))
    return revoked.rowcount


def _is_active(now: datetime) -> ColumnElement[bool]:
    return _states(now)[TokenState.TOKEN_STATE_ACTIVE]


def _states(now: datetime) -> Mapping[int, ColumnElement[bool]]:
    """`StoredToken.state` in SQL."""
    unused, unrevoked = tokens.c.use_time.is_(None), tokens.c.revoke_time.is_(None)
    standing = and_(unused, unrevoked, tokens.c.supersede_time.is_(None))
    return {
        TokenState.TOKEN_STATE_USED: tokens.c.use_time.is_not(None),
        TokenState.TOKEN_STATE_REVOKED: and_(unused, tokens.c.revoke_time.is_not(None)),
        TokenState.TOKEN_STATE_SUPERSEDED: and_(unused, unrevoked, tokens.c.supersede_time.is_not(None)),
        TokenState.TOKEN_STATE_EXPIRED: and_(standing, tokens.c.expire_time <= to_micros(now)),
        TokenState.TOKEN_STATE_ACTIVE: and_(standing, tokens.c.expire_time > to_micros(now)),
    }


_FIND = Prepared(select(tokens).where(tokens.c.secret_sha256 == bindparam("secret")))
_USE = Prepared(
    update(tokens)
    .where(
        tokens.c.secret_sha256 == bindparam("secret"),
        tokens.c.use_time.is_(None),
        tokens.c.revoke_time.is_(None),
        tokens.c.supersede_time.is_(None),
        tokens.c.expire_time > bindparam("now"),
    )
    .returning(*tokens.c),
    ["use_time", "public_key_sha256"],
)


def _with_serial() -> Select[Any]:
    earned = tokens.outerjoin(certificates, certificates.c.token_id == tokens.c.token_id)
    return select(tokens, certificates.c.serial_number).select_from(earned)


def _token(row: Mapping[Any, Any]) -> StoredToken:
    return StoredToken(
        token_id=row["token_id"],
        spiffe_id=row["spiffe_id"],
        issuer=row["issuer"] or "",
        issue_time=from_micros(row["issue_time"]),
        expire_time=from_micros(row["expire_time"]),
        use_time=from_micros_if(row["use_time"]),
        revoke_time=from_micros_if(row["revoke_time"]),
        superseded=row["supersede_time"] is not None,
        public_key_sha256=row["public_key_sha256"],
        delivery_state=row["delivery_state"],
        delivery_time=from_micros_if(row["delivery_time"]),
        delivery_failure=row["delivery_failure"] or "",
        dns_names=tuple(json.loads(row["dns_names"] or "[]")),
        ip_addresses=tuple(json.loads(row["ip_addresses"] or "[]")),
    )

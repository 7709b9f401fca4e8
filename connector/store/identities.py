"""Statements upon identities: those that were evicted or banned, and those that tokens and certificates name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moorage.connector.v1.identity_pb2 import IdentityState
from sqlalchemy import ColumnElement, FromClause, Select, and_, bindparam, func, insert, not_, select, union, update

from connector.store.base import Transaction, from_micros, from_micros_if, to_micros
from connector.store.tables import authorities, certificates, identities, tokens
from mesh.database import Prepared


@dataclass(frozen=True)
class Revocation:
    """When an identity was last evicted or banned, and what there is to say about it."""

    time: datetime
    reason: int
    """A number of `RevocationReason`."""
    revoked_by: str
    note: str


@dataclass(frozen=True)
class StoredIdentity:
    """An identity as a token, a certificate or its revocation makes it known."""

    spiffe_id: str
    banned: bool
    active_certificates: int
    active_tokens: int
    last_issue_time: datetime | None
    revocation: Revocation | None

    @property
    def state(self) -> IdentityState.ValueType:
        """How it stands."""
        if self.banned:
            return IdentityState.IDENTITY_STATE_BANNED
        if self.active_certificates:
            return IdentityState.IDENTITY_STATE_ACTIVE
        return IdentityState.IDENTITY_STATE_INACTIVE


def is_banned(tx: Transaction, spiffe_id: str) -> bool:
    """Whether nothing may be issued to the identity."""
    return _BANNED.first(tx, {"party": spiffe_id}) is not None


def note_revocation(tx: Transaction, spiffe_id: str, revocation: Revocation, *, ban: bool) -> None:
    """Note that an identity was evicted, or banned; a ban that stands already stays."""
    time = to_micros(revocation.time)
    noted: dict[str, Any] = {
        "revoke_time": time,
        "revocation_reason": revocation.reason,
        "revoked_by": revocation.revoked_by,
        "revocation_note": revocation.note,
    }
    ban_time = func.coalesce(identities.c.ban_time, time) if ban else identities.c.ban_time
    changed = update(identities).where(identities.c.spiffe_id == spiffe_id).values(ban_time=ban_time, **noted)
    if tx.execute(changed).rowcount == 0:
        tx.execute(insert(identities).values(spiffe_id=spiffe_id, ban_time=time if ban else None, **noted))


def lift_ban(tx: Transaction, spiffe_id: str) -> bool:
    """End the ban of an identity; says whether there was one."""
    lifted = update(identities).where(identities.c.spiffe_id == spiffe_id, identities.c.ban_time.is_not(None))
    return tx.execute(lifted.values(ban_time=None)).rowcount > 0


def read_identity(tx: Transaction, spiffe_id: str, now: datetime) -> StoredIdentity | None:
    """The identity; None where nothing names it."""
    for table in (identities, certificates, tokens):
        named = select(table.c.spiffe_id).where(table.c.spiffe_id == spiffe_id).limit(1)
        if tx.execute(named).first() is not None:
            return _stored(tx, [spiffe_id], now)[0]
    return None


def page_of_identities(
    tx: Transaction, states: Collection[int], now: datetime, after: str | None, limit: int
) -> list[StoredIdentity]:
    """The first `limit` beyond `after`, in the order of SPIFFE IDs; in these states, unless there are none."""
    arms = [arm for state in sorted(set(states)) for arm in _in_state(state, now)] or [
        select(table.c.spiffe_id) for table in (identities, certificates, tokens)
    ]
    # Each arm ends at its limit along an index: the tables are not read through for one page.
    firsts = [_first(arm, after, limit).subquery() for arm in arms]
    named = union(*(select(each.c.spiffe_id) for each in firsts)).subquery()
    ids = tx.execute(select(named.c.spiffe_id).order_by(named.c.spiffe_id).limit(limit)).scalars().all()
    return _stored(tx, ids, now)


_BANNED = Prepared(
    select(identities.c.spiffe_id).where(
        identities.c.spiffe_id == bindparam("party"), identities.c.ban_time.is_not(None)
    )
)


def _first(arm: Select[Any], after: str | None, limit: int) -> Select[Any]:
    spiffe_id = arm.selected_columns[0]
    if after is not None:
        arm = arm.where(spiffe_id > after)
    return arm.distinct().order_by(spiffe_id).limit(limit)


def _in_state(state: int, now: datetime) -> list[Select[Any]]:
    """`StoredIdentity.state` in SQL: those that may name an identity in that state, and when they do."""
    if state == IdentityState.IDENTITY_STATE_BANNED:
        return [select(identities.c.spiffe_id).where(identities.c.ban_time.is_not(None))]
    if state == IdentityState.IDENTITY_STATE_ACTIVE:
        active = select(certificates.c.spiffe_id).where(_active_certificate(certificates, now))
        return [active.where(not_(_is_banned(certificates)))]
    return [
        select(table.c.spiffe_id).where(not_(_is_banned(table)), not_(_has_certificate(table, now)))
        for table in (identities, certificates, tokens)
    ]


def _is_banned(table: FromClause) -> ColumnElement[bool]:
    bans = identities.alias("bans")
    return select(bans.c.spiffe_id).where(bans.c.spiffe_id == table.c.spiffe_id, bans.c.ban_time.is_not(None)).exists()


def _has_certificate(table: FromClause, now: datetime) -> ColumnElement[bool]:
    held = certificates.alias("held")
    return (
        select(held.c.spiffe_id).where(held.c.spiffe_id == table.c.spiffe_id, _active_certificate(held, now)).exists()
    )


def _active_certificate(table: FromClause, now: datetime) -> ColumnElement[bool]:
    retired = select(authorities.c.authority_sha256).where(authorities.c.retire_time.is_not(None))
    return and_(
        _is_signed(table),
        table.c.revoke_time.is_(None),
        table.c.not_after > to_micros(now),
        table.c.authority_sha256.not_in(retired),
    )


def _is_signed(table: FromClause) -> ColumnElement[bool]:
    return table.c.planned_tbs.is_(None)


def _active_token(now: datetime) -> ColumnElement[bool]:
    return and_(
        tokens.c.use_time.is_(None),
        tokens.c.revoke_time.is_(None),
        tokens.c.supersede_time.is_(None),
        tokens.c.expire_time > to_micros(now),
    )


def _stored(tx: Transaction, spiffe_ids: Sequence[str], now: datetime) -> list[StoredIdentity]:
    certified = {
        row.spiffe_id: row
        for row in tx.execute(
            select(
                certificates.c.spiffe_id,
                func.count().filter(_active_certificate(certificates, now)).label("active"),
                func.max(certificates.c.issue_time).filter(_is_signed(certificates)).label("last"),
            )
            .where(certificates.c.spiffe_id.in_(spiffe_ids))
            .group_by(certificates.c.spiffe_id)
        )
    }
    active_tokens: dict[str, int] = {
        row.spiffe_id: row.active
        for row in tx.execute(
            select(tokens.c.spiffe_id, func.count().label("active"))
            .where(tokens.c.spiffe_id.in_(spiffe_ids), _active_token(now))
            .group_by(tokens.c.spiffe_id)
        )
    }
    revoked = {
        row.spiffe_id: row for row in tx.execute(select(identities).where(identities.c.spiffe_id.in_(spiffe_ids)))
    }
    found = []
    for spiffe_id in spiffe_ids:
        row, revocation = certified.get(spiffe_id), revoked.get(spiffe_id)
        found.append(
            StoredIdentity(
                spiffe_id=spiffe_id,
                banned=revocation is not None and revocation.ban_time is not None,
                active_certificates=row.active if row else 0,
                active_tokens=active_tokens.get(spiffe_id, 0),
                last_issue_time=from_micros_if(row.last) if row else None,
                revocation=Revocation(
                    from_micros(revocation.revoke_time),
                    revocation.revocation_reason,
                    revocation.revoked_by,
                    revocation.revocation_note,
                )
                if revocation
                else None,
            )
        )
    return found

"""Queries upon webhooks and the outbox of their notices."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from director.store.registry import Values
from director.store.tables import notices, webhooks
from mesh.database import announce

TOPIC = "notices"
"""Announced when there may be one more to deliver."""

WAITING, DELIVERED, FAILED = "WAITING", "DELIVERED", "FAILED"

_MOST_IDS = 500
"""Ids in one query: well under SQLite's limit of bound values."""


class Notice(NamedTuple):
    """A notice that waits, with what it takes to deliver it."""

    notice_id: str
    application_id: str
    body: str
    attempts: int
    url: str
    sealed_secret: bytes


def find_webhook(tx: Connection, application_id: str) -> Values | None:
    """The webhook of an Application."""
    row = tx.execute(select(webhooks).where(webhooks.c.application_id == application_id)).one_or_none()
    return row._asdict() if row is not None else None


def store_webhook(tx: Connection, application_id: str, values: Values) -> None:
    """Change what `values` names of the webhook of an Application, or create it."""
    changed = tx.execute(update(webhooks).where(webhooks.c.application_id == application_id).values(dict(values)))
    if not changed.rowcount:
        tx.execute(insert(webhooks).values(application_id=application_id, **values))


def delete_webhook(tx: Connection, application_id: str) -> bool:
    """Delete the webhook of an Application; says whether there was one."""
    return tx.execute(delete(webhooks).where(webhooks.c.application_id == application_id)).rowcount > 0


def with_webhook(tx: Connection, application_ids: Collection[str]) -> list[str]:
    """Those of the Applications that have a webhook, ordered."""
    ids = sorted(application_ids)
    found: list[str] = []
    for i in range(0, len(ids), _MOST_IDS):
        query = select(webhooks.c.application_id).where(webhooks.c.application_id.in_(ids[i : i + _MOST_IDS]))
        found += tx.execute(query).scalars().all()
    return sorted(found)


def append(tx: Connection, rows: Sequence[Values]) -> None:
    """Write notices that are to be delivered."""
    if rows:
        tx.execute(insert(notices), [{**row, "state": WAITING} for row in rows])
        announce(tx, TOPIC)


def delete_of(tx: Connection, application_id: str) -> None:
    """Delete every notice of an Application."""
    tx.execute(delete(notices).where(notices.c.application_id == application_id))


def counts(tx: Connection, application_id: str) -> dict[str, int]:
    """How many notices of an Application there are in each state."""
    query = select(notices.c.state, func.count()).where(notices.c.application_id == application_id)
    query = query.group_by(notices.c.state)
    return {row[0]: row[1] for row in tx.execute(query)}


def waiting(tx: Connection, most: int) -> list[tuple[str, str]]:
    """Notices that wait, by their id and their Application's: of each Application the oldest, `most` of them."""
    order = (notices.c.create_time, notices.c.notice_id)
    number = func.row_number().over(partition_by=notices.c.application_id, order_by=order)
    numbered = select(notices.c.notice_id, notices.c.application_id, notices.c.create_time, number.label("number"))
    oldest = numbered.where(notices.c.state == WAITING).subquery()
    query = select(oldest.c.notice_id, oldest.c.application_id).where(oldest.c.number <= most)
    return [(row[0], row[1]) for row in tx.execute(query.order_by(oldest.c.create_time, oldest.c.notice_id))]


def read(tx: Connection, notice_id: str) -> Notice | None:
    """A notice that waits; None where it has been settled or dropped, or its webhook is gone."""
    query = (
        select(
            notices.c.notice_id,
            notices.c.application_id,
            notices.c.body,
            notices.c.attempts,
            webhooks.c.url,
            webhooks.c.sealed_secret,
        )
        .join(webhooks, webhooks.c.application_id == notices.c.application_id)
        .where(notices.c.notice_id == notice_id, notices.c.state == WAITING)
    )
    row = tx.execute(query).one_or_none()
    return Notice(*row) if row is not None else None


def delivered(tx: Connection, notice_id: str, application_id: str, micros: int) -> None:
    """Settle a notice that has arrived."""
    _settle(tx, notice_id, DELIVERED, micros)
    tx.execute(update(webhooks).where(webhooks.c.application_id == application_id).values(last_success_time=micros))


def attempt_failed(
    tx: Connection, notice_id: str, application_id: str, micros: int, why: str, *, given_up: bool
) -> None:
    """Note an attempt that failed; `given_up` settles the notice."""
    if given_up:
        _settle(tx, notice_id, FAILED, micros)
    else:
        tx.execute(update(notices).where(_is_waiting(notice_id)).values(attempts=notices.c.attempts + 1))
    tx.execute(
        update(webhooks)
        .where(webhooks.c.application_id == application_id)
        .values(last_failure_time=micros, last_failure=why)
    )


def _settle(tx: Connection, notice_id: str, state: str, micros: int) -> None:
    values = {"state": state, "attempts": notices.c.attempts + 1, "settle_time": micros}
    tx.execute(update(notices).where(_is_waiting(notice_id)).values(values))
    announce(tx, TOPIC)


def _is_waiting(notice_id: str) -> Any:
    return (notices.c.notice_id == notice_id) & (notices.c.state == WAITING)

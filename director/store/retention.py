"""Queries that remove what nobody needs any more."""

from sqlalchemy import Connection, delete, func, select, update

from director.store.changes import lock_plane
from director.store.notices import WAITING
from director.store.tables import changes, group_applications, group_runtimes, notices, plane


def forget_changes(tx: Connection, before: int, most: int) -> bool:
    """Shorten the log from its old end by the revisions made before a time, `most` of them; says whether it did.

    The time is in microseconds since the epoch. Memberships that ended within that part of the log go with it.
    """
    log = lock_plane(tx)
    old = select(func.max(changes.c.revision)).where(
        changes.c.revision > log.horizon, changes.c.revision <= log.horizon + most, changes.c.time < before
    )
    horizon: int | None = tx.execute(old).scalar()
    return horizon is not None and _shorten(tx, horizon)


def forget_all_but(tx: Connection, kept: int, most: int) -> bool:
    """Shorten the log from its old end to its `kept` last revisions, by `most` of them; says whether it did.

    Memberships that ended within that part of the log go with it.
    """
    log = lock_plane(tx)
    excess = log.revision - log.horizon - kept
    return excess > 0 and _shorten(tx, log.horizon + min(excess, most))


def _shorten(tx: Connection, horizon: int) -> bool:
    tx.execute(update(plane).values(horizon=horizon))
    tx.execute(delete(changes).where(changes.c.revision <= horizon))
    for table in (group_applications, group_runtimes):
        tx.execute(delete(table).where(table.c.removed_revision <= horizon))
    return True


def forget_notices(tx: Connection, before: int) -> None:
    """Remove notices that were settled before a time, in microseconds since the epoch."""
    tx.execute(delete(notices).where(notices.c.state != WAITING, notices.c.settle_time < before))

"""Queries upon the plane's counter and the change log."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from director.store.tables import changes, plane
from mesh.database import announce

TOPIC = "changes"
"""Announced when the log grows."""


class PlaneRow(NamedTuple):
    """Which plane this is, its last revision, and the oldest revision that a reader can resume from."""

    plane_id: str
    revision: int
    horizon: int


def read_plane(tx: Connection) -> PlaneRow:
    """The plane as it is at this point of the transaction."""
    return PlaneRow(*tx.execute(_PLANE).one())


def lock_plane(tx: Connection) -> PlaneRow:
    """The plane, held against every other mutation until the transaction ends."""
    return PlaneRow(*tx.execute(_PLANE_LOCKED).one())


def create_plane(tx: Connection, plane_id: str) -> None:
    """Begin a plane at revision 0, unless the database holds one already."""
    if tx.execute(_PLANE).first() is None:
        with suppress(IntegrityError), tx.begin_nested():  # another instance began it at the same time
            tx.execute(insert(plane).values(id=1, plane_id=plane_id, revision=0, horizon=0))


def append(tx: Connection, revision: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Move the plane to `revision` and write the rows that it consists of; every instance hears of its commit."""
    tx.execute(_ADVANCE, {"to": revision})
    announce(tx, TOPIC)
    tx.execute(_APPEND, [{**row, "revision": revision, "position": i} for i, row in enumerate(rows)])


def read_after(tx: Connection, revision: int, until: int | None = None) -> Sequence[Row[Any]]:
    """Rows of the log after `revision`, up to and with `until`, in their order."""
    query = select(changes).where(changes.c.revision > revision)
    if until is not None:
        query = query.where(changes.c.revision <= until)
    return tx.execute(query.order_by(changes.c.revision, changes.c.position)).all()


_PLANE = select(plane.c.plane_id, plane.c.revision, plane.c.horizon)
_PLANE_LOCKED = _PLANE.with_for_update()
_ADVANCE = update(plane).values(revision=bindparam("to"))
_APPEND = insert(changes)

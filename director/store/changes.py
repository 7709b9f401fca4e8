"""Queries upon the plane's counter and the change log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from director.store.tables import COUNTED, changes, metadata, plane
from mesh.database import Prepared, announce

TOPIC = "changes"
"""Announced when the log grows."""


class PlaneRow(NamedTuple):
    """Which plane this is, its last revision, and the oldest revision that a reader can resume from."""

    plane_id: str
    revision: int
    horizon: int


def read_plane(tx: Connection) -> PlaneRow:
    """The plane as it is at this point of the transaction."""
    return _plane(tx, _PLANE)


def lock_plane(tx: Connection) -> PlaneRow:
    """The plane, held against every other mutation until the transaction ends."""
    return _plane(tx, _PLANE_LOCKED)


def create_plane(tx: Connection, plane_id: str) -> None:
    """Begin a plane at revision 0, unless the database holds one already."""
    if _PLANE.first(tx, {}) is None:
        with suppress(IntegrityError), tx.begin_nested():  # another instance began it at the same time
            tx.execute(insert(plane).values(id=1, plane_id=plane_id, revision=0, horizon=0))


def append(tx: Connection, revision: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Move the plane to `revision` and write the rows that it consists of; every instance hears of its commit."""
    come = Counter(_COUNTED[row["kind"]] for row in rows if row["action"] == "CREATE" and row["kind"] in _COUNTED)
    come.subtract(_COUNTED[row["kind"]] for row in rows if row["action"] == "DELETE" and row["kind"] in _COUNTED)
    if come:
        _COUNT.run(tx, {"to": revision, **{f"more_{table}": come[table] for table in COUNTED}})
    else:
        _ADVANCE.run(tx, {"to": revision})
    announce(tx, TOPIC)
    _APPEND.run_each(tx, [{**row, "revision": revision, "position": i} for i, row in enumerate(rows)])


def recount(tx: Connection) -> bool:
    """Have the plane say how many rows the tables have; says whether it did not.

    While a release is rolled out, an instance of the one before may make and remove things uncounted.
    """
    lock_plane(tx)
    found = tx.execute(
        select(*(select(func.count()).select_from(metadata.tables[name]).scalar_subquery() for name in COUNTED))
    ).one()
    counts = dict(zip(COUNTED, found, strict=True))
    differs = or_(*(plane.c[name] != count for name, count in counts.items()))
    return tx.execute(update(plane).where(differs).values(counts)).rowcount > 0


def read_after(tx: Connection, revision: int, until: int | None = None) -> list[dict[str, Any]]:
    """Rows of the log after `revision`, up to and with `until`, in their order."""
    return _AFTER.all(tx, {"after": revision, "until": _LAST if until is None else until})


def _plane(tx: Connection, statement: Prepared) -> PlaneRow:
    row = statement.first(tx, {})
    if row is None:
        raise LookupError("the database holds no plane")
    return PlaneRow(**row)


_SELECT_PLANE = select(plane.c.plane_id, plane.c.revision, plane.c.horizon)
_PLANE = Prepared(_SELECT_PLANE)
_PLANE_LOCKED = Prepared(_SELECT_PLANE.with_for_update())
_ADVANCE = Prepared(update(plane).values(revision=bindparam("to")))
_COUNT = Prepared(
    update(plane).values(
        {"revision": bindparam("to"), **{name: plane.c[name] + bindparam(f"more_{name}") for name in COUNTED}}
    )
)
_COUNTED = {
    "APPLICATION": "applications",
    "RUNTIME": "runtimes",
    "GROUP": "groups",
    "LABEL_DEFINITION": "label_definitions",
}
"""The kinds of the log whose CREATE and DELETE are counted, by their tables."""

_AFTER = Prepared(
    select(changes)
    .where(changes.c.revision > bindparam("after"), changes.c.revision <= bindparam("until"))
    .order_by(changes.c.revision, changes.c.position)
)
_LAST = 2**63 - 1
_APPEND = Prepared(insert(changes), [column.name for column in changes.c])

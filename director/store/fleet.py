"""Queries that read all Runtimes, or those of them that changed."""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select

from director.store.registry import Values
from director.store.tables import runtimes
from mesh.database import OneOf, Prepared

_MOST_IDS = 500
"""Ids in one query."""


def read_all(tx: Connection) -> list[Values]:
    """Every row, by name."""
    return list(_ALL.all(tx, {}))


def read_some(tx: Connection, runtime_ids: Collection[str]) -> list[Values]:
    """The rows of those that exist."""
    ordered = sorted(runtime_ids)
    parts = (ordered[start : start + _MOST_IDS] for start in range(0, len(ordered), _MOST_IDS))
    return [row for some in parts for row in _SOME.all(tx, {"ids": some})]


def read_report_times(tx: Connection, since: int) -> list[tuple[str, int]]:
    """Who reported at a time, in microseconds, or later, with when."""
    return [(row["runtime_id"], row["report_time"]) for row in _REPORTED.all(tx, {"since": since})]


_ALL = Prepared(select(runtimes).order_by(runtimes.c.name))
_SOME = Prepared(select(runtimes).where(OneOf(runtimes.c.runtime_id, "ids")))
_REPORTED = Prepared(
    select(runtimes.c.runtime_id, runtimes.c.report_time).where(runtimes.c.report_time >= bindparam("since"))
)

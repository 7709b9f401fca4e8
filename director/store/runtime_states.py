"""Queries upon the states of Runtimes: who is to turn STALE, who back, and how many there are of each.

Those that find out who is to turn lock what they find: it is judged by how it stands then, and what comes later waits.
"""

from collections.abc import Mapping
from typing import Any

from moorage.director.v1.configuration_pb2 import ReportState
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, func, or_, select

from director.store.registry import Values
from director.store.tables import runtimes

MOST = 200
"""Runtimes that one unit of work turns: mutations wait for no longer than that takes."""

_STALE = RuntimeState.RUNTIME_STATE_STALE
_APPLYING = ReportState.REPORT_STATE_APPLYING


def silent(tx: Connection, unseen_since: int) -> list[Values]:
    """Those that were seen once, and not since a time, in microseconds."""
    return _rows(tx, _SILENT, {"since": unseen_since})


def long_applying(tx: Connection, since: int) -> list[Values]:
    """Those whose last report, of before a time, is that they are applying."""
    return _rows(tx, _LONG_APPLYING, {"since": since})


def unanswered(tx: Connection, awaited: Mapping[str, int], head: int) -> list[Values]:
    """Those, by their ids, that have reported nothing of the revision that is awaited of each, or of a later one.

    At most `MOST` may be asked about. `head` is the plane's revision: a report beyond it is of a plane that was.
    """
    rows = _rows(tx, _NAMED, {"ids": list(awaited)})
    return [row for row in rows if not is_answered(row["status_revision"], awaited[row["runtime_id"]], head)]


def is_answered(reported: int | None, awaited: int, head: int) -> bool:
    """Whether a report about the revision `reported` says something of the one that is `awaited`."""
    return reported is not None and awaited <= reported <= head


def returned(tx: Connection, stale_after: int) -> list[Values]:
    """Those that are STALE by their silence, and were seen later than `stale_after` microseconds before they were."""
    return _rows(tx, _RETURNED, {"after": stale_after})


def is_any_due(tx: Connection, unseen_since: int, applying_since: int) -> bool:
    """Whether `silent` or `long_applying` would find any; locks nothing."""
    query = select(runtimes.c.runtime_id).where(or_(_IS_SILENT, _IS_LONG_APPLYING), _IS_NOT_STALE).limit(1)
    return tx.execute(query, {"since": unseen_since, "applying_since": applying_since}).first() is not None


def is_any_returned(tx: Connection, stale_after: int) -> bool:
    """Whether `returned` would find any; locks nothing."""
    return tx.execute(_ID.where(_HAS_RETURNED).limit(1), {"after": stale_after}).first() is not None


def reported_revisions(tx: Connection, runtime_ids: list[str]) -> dict[str, int | None]:
    """The revision that each of these Runtimes reported about last; None where it never did."""
    reported: dict[str, int | None] = {}
    for start in range(0, len(runtime_ids), MOST):
        rows = tx.execute(_REPORTED, {"ids": runtime_ids[start : start + MOST]})
        reported.update((row.runtime_id, row.status_revision) for row in rows)
    return reported


def count(tx: Connection) -> dict[int, int]:
    """How many Runtimes are in each state, of those that any is in."""
    return {row.state: row.number for row in tx.execute(_COUNT)}


def _rows(tx: Connection, query: Select[Any], values: Mapping[str, Any]) -> list[Values]:
    return [dict(row) for row in tx.execute(query, values).mappings()]


_SINCE: BindParameter[int] = bindparam("since")
_APPLYING_SINCE: BindParameter[int] = bindparam("applying_since")
_AFTER: BindParameter[int] = bindparam("after")
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)

_IS_NOT_STALE = runtimes.c.state != _STALE
_IS_SILENT = runtimes.c.last_seen_time < _SINCE
_IS_LONG_APPLYING: ColumnElement[bool] = (runtimes.c.status_state == _APPLYING) & (
    runtimes.c.report_time < _APPLYING_SINCE
)
_HAS_RETURNED: ColumnElement[bool] = (
    (runtimes.c.state == _STALE)
    & runtimes.c.stuck_revision.is_(None)
    & (runtimes.c.last_seen_time >= runtimes.c.state_time - _AFTER)
)


def _locked(*which: ColumnElement[bool]) -> Select[Any]:
    # By their ids, as who notes that they were seen goes through them, too: so none waits for one that waits for it.
    return select(runtimes).where(*which).order_by(runtimes.c.runtime_id).limit(MOST).with_for_update()


_ID = select(runtimes.c.runtime_id)
_SILENT = _locked(_IS_NOT_STALE, _IS_SILENT)
_LONG_APPLYING = _locked(_IS_NOT_STALE, runtimes.c.status_state == _APPLYING, runtimes.c.report_time < _SINCE)
_NAMED = _locked(_IS_NOT_STALE, runtimes.c.runtime_id.in_(_IDS))
_RETURNED = _locked(_HAS_RETURNED)
_REPORTED = select(runtimes.c.runtime_id, runtimes.c.status_revision).where(runtimes.c.runtime_id.in_(_IDS))
_COUNT = select(runtimes.c.state, func.count().label("number")).group_by(runtimes.c.state)

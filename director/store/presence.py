"""Queries upon who is there: when Applications and Runtimes were last seen, and how Applications are known.

None of it is a change of the resource: it takes no revision. Each statement says itself which state it turns from, so
that any number of instances can run them in any order.
"""

from collections.abc import Collection, Mapping

from moorage.director.v1.application_pb2 import ApplicationState
from sqlalchemy import BindParameter, ColumnElement, Connection, Table, Update, bindparam, case, or_, update

from director.store.registry import Registry
from director.store.tables import applications, runtimes

_MOST_IDS = 500
"""Ids in one statement: well under SQLite's limit of bound values."""

_INITIAL = ApplicationState.APPLICATION_STATE_INITIAL
_PAIRED = ApplicationState.APPLICATION_STATE_PAIRED
_CONNECTED = ApplicationState.APPLICATION_STATE_CONNECTED
_STALE = ApplicationState.APPLICATION_STATE_STALE


def note_seen(tx: Connection, holders: Registry, seen: Mapping[str, int]) -> None:
    """Keep when each of the Applications, or Runtimes, was seen, unless it was seen later."""
    # Whoever holds a stream is seen at the end of a round, thousands at the same time; who calls, each at its own.
    at: dict[int, list[str]] = {}
    for id, time in sorted(seen.items()):
        at.setdefault(time, []).append(id)
    alone = [{"id": ids[0], "seen": time} for time, ids in at.items() if len(ids) == 1]
    if alone:
        tx.execute(_SEEN_ALONE[holders.table], alone)
    for time, ids in at.items():
        if len(ids) > 1:
            for start in range(0, len(ids), _MOST_IDS):
                tx.execute(_SEEN_TOGETHER[holders.table], {"ids": ids[start : start + _MOST_IDS], "seen": time})


def turn_connected(tx: Connection, application_ids: Collection[str], time: int, reason: str) -> None:
    """Have those of the Applications CONNECTED that were INITIAL, PAIRED or STALE."""
    ordered = sorted(application_ids)
    for start in range(0, len(ordered), _MOST_IDS):
        tx.execute(_CALLED, {"ids": ordered[start : start + _MOST_IDS], "now": time, "reason": reason})


def turn_stale(tx: Connection, unseen_since: int, time: int, reason: str) -> None:
    """Have those Applications STALE that were CONNECTED and were not seen since a time."""
    tx.execute(_UNSEEN, {"since": unseen_since, "now": time, "reason": reason})


def turn_paired(tx: Connection, application_id: str, time: int, reason: str) -> None:
    """Have an Application PAIRED that was INITIAL or STALE."""
    tx.execute(_ENROLLED, {"id": application_id, "now": time, "reason": reason})


def report(tx: Connection, application_id: str, state: ApplicationState.ValueType, reason: str, time: int) -> None:
    """Have an Application as it says itself; since when it is so stays where the state does."""
    tx.execute(_REPORTED, {"id": application_id, "to": state, "now": time, "reason": reason})


_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_SINCE: BindParameter[int] = bindparam("since")
_SEEN_AT: BindParameter[int] = bindparam("seen")
_TO: BindParameter[int] = bindparam("to")


def _seen(table: Table, whose: ColumnElement[bool]) -> Update:
    last = table.c.last_seen_time
    return update(table).where(whose, or_(last.is_(None), last < _SEEN_AT)).values(last_seen_time=_SEEN_AT)


def _turn(state: ApplicationState.ValueType, *before: ApplicationState.ValueType) -> Update:
    columns = applications.c
    turning = update(applications).where(columns.state.in_(before))
    return turning.values(state=state, state_time=bindparam("now"), state_reason=bindparam("reason"))


_KEYS = {applications: applications.c.application_id, runtimes: runtimes.c.runtime_id}
_SEEN_ALONE = {table: _seen(table, key == bindparam("id")) for table, key in _KEYS.items()}
_SEEN_TOGETHER = {table: _seen(table, key.in_(_IDS)) for table, key in _KEYS.items()}
_CALLED = _turn(_CONNECTED, _INITIAL, _PAIRED, _STALE).where(applications.c.application_id.in_(_IDS))
_UNSEEN = _turn(_STALE, _CONNECTED).where(applications.c.last_seen_time < _SINCE)
_ENROLLED = _turn(_PAIRED, _INITIAL, _STALE).where(applications.c.application_id == bindparam("id"))
_REPORTED = (
    update(applications)
    .where(applications.c.application_id == bindparam("id"))
    .values(
        state=_TO,
        state_time=case((applications.c.state == _TO, applications.c.state_time), else_=bindparam("now")),
        state_reason=bindparam("reason"),
        last_seen_time=bindparam("now"),
    )
)

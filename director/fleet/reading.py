"""One reading of all Runtimes, in one snapshot of the database: what changed since the one before, by a report or else.

Reports take no revision, so they are found by their time. Instances' clocks differ, and a transaction may take a while:
a reading looks back a little behind the last report that it knows.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from moorage.director.v1.runtime_pb2 import Runtime

from director.changes import Action, Change, Kind, read_plane, read_since
from director.runtimes import put_desired, runtime_message
from director.store import Transaction
from director.store import fleet as store
from director.store.desired import Desired, read_all_desired, read_runtimes_in
from director.times import from_timestamp

LOOK_BACK = 60_000_000
"""Microseconds by which a report may be older than another that was seen before it."""

_CONFIGURED = frozenset({Kind.APPLICATION, Kind.API, Kind.EVENT_API, Kind.BUNDLE, Kind.CREDENTIAL})


@dataclass(frozen=True)
class Fleet:
    """All Runtimes at `revision`, by their ids. Never changed once made."""

    revision: int
    runtimes: Mapping[str, Runtime]
    last_report: int = 0
    """When the last report came, in microseconds since the epoch."""


class Difference(NamedTuple):
    """What leads from one fleet to another."""

    changed: list[Runtime]
    removed: list[str]


def read_fleet(tx: Transaction, before: Fleet | None) -> Fleet:
    """All Runtimes. What did not change is taken over from `before` as it is; that itself where nothing did."""
    plane = read_plane(tx)
    if before is None or not plane.horizon <= before.revision <= plane.revision:
        rows = store.read_all(tx)
        before, touched = Fleet(plane.revision, {}), _Touched(desired={row["runtime_id"] for row in rows})
    else:
        changes = read_since(tx, before.revision, plane.revision) if before.revision < plane.revision else []
        touched = _Touched.by(tx, changes)
        touched.rows |= _reported(tx, before)
        rows = store.read_some(tx, touched.rows)
    fresh = {row["runtime_id"]: runtime_message(row) for row in rows}
    desired = read_all_desired(tx, touched.desired)
    changed = dict(_changed(before.runtimes, fresh, desired))
    removed = touched.rows.difference(fresh) & before.runtimes.keys()
    last_report = max([before.last_report, *(row["report_time"] or 0 for row in rows)])
    if not changed and not removed:
        if (plane.revision, last_report) == (before.revision, before.last_report):
            return before
        return Fleet(plane.revision, before.runtimes, last_report)
    kept = {id: runtime for id, runtime in before.runtimes.items() if id not in removed}
    return Fleet(plane.revision, kept | changed, last_report)


def _changed(
    held: Mapping[str, Runtime], fresh: Mapping[str, Runtime], desired: Mapping[str, Desired]
) -> Iterator[tuple[str, Runtime]]:
    """Those that are new or differ from what is `held`: by their rows, or by what they are to run."""
    for id, runtime in fresh.items():
        before = held.get(id)
        if id in desired:
            put_desired(runtime, *desired[id])
        elif before is not None:
            put_desired(runtime, *_desired(before))
        if before is None or not _is_same(before, runtime):
            yield id, runtime
    for id in desired.keys() & held.keys() - fresh.keys():
        if desired[id] != _desired(held[id]):
            runtime = Runtime()
            runtime.CopyFrom(held[id])
            put_desired(runtime, *desired[id])
            yield id, runtime


def difference(before: Fleet, now: Fleet) -> Difference:
    """What somebody who holds the one lacks of the other."""
    if before.runtimes is now.runtimes:
        return Difference([], [])
    held = before.runtimes
    return Difference(
        [runtime for id, runtime in now.runtimes.items() if held.get(id) is not runtime],
        [id for id in held if id not in now.runtimes],
    )


@dataclass
class _Touched:
    """The Runtimes whose rows may have changed, and those of which it may have changed what they are to run."""

    rows: set[str] = field(default_factory=set)
    desired: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, tx: Transaction, changes: Collection[Change]) -> "_Touched":
        touched = cls()
        groups: set[str] = set()
        applications: set[str] = set()
        for change in changes:
            if change.kind is Kind.RUNTIME:
                touched.rows.add(change.resource_id)
                if change.action is Action.CREATE:
                    touched.desired.add(change.resource_id)
            elif change.kind is Kind.MEMBER:
                if change.runtime_id:
                    touched.desired.add(change.runtime_id)
                elif change.group_id:
                    groups.add(change.group_id)
            elif change.kind in _CONFIGURED and change.application_id and not change.runtime_id:
                applications.add(change.application_id)
        touched.desired |= read_runtimes_in(tx, groups, applications)
        return touched


def _reported(tx: Transaction, before: Fleet) -> set[str]:
    """The Runtimes that reported since."""
    times = store.read_report_times(tx, before.last_report - LOOK_BACK)
    return {id for id, time in times if id not in before.runtimes or time != _report_time(before.runtimes[id])}


def _report_time(runtime: Runtime) -> int:
    return from_timestamp(runtime.status.report_time)


def _desired(runtime: Runtime) -> Desired:
    time = from_timestamp(runtime.desired_time) if runtime.HasField("desired_time") else None
    return Desired(runtime.desired_revision, time)


def _is_same(held: Runtime, runtime: Runtime) -> bool:
    """Whether they differ in nothing, or only in when the agent was seen last."""
    if held == runtime:
        return True
    seen_alike = Runtime()
    seen_alike.CopyFrom(held)
    seen_alike.ClearField("last_seen_time")
    if runtime.HasField("last_seen_time"):
        seen_alike.last_seen_time.CopyFrom(runtime.last_seen_time)
    return seen_alike == runtime

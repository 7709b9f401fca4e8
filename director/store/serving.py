"""Queries that say which Runtimes an Application serves."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, bindparam, select

from director.store.tables import applications, group_applications, group_runtimes, runtimes

_MOST_IDS = 500
"""Ids in one query: well under SQLite's limit of bound values."""


class Served(NamedTuple):
    """A Runtime that an Application serves."""

    runtime_id: str
    name: str
    state: int
    event_url: str
    ready_time: int | None


def read_page(tx: Connection, application_id: str, after: str, limit: int) -> list[Served]:
    """The first `limit` Runtimes that an Application serves whose names come after `after`, ordered by name."""
    values = {"ids": [application_id], "after": after, "limit": limit}
    return [Served(*row[1:]) for row in tx.execute(_PAGE, values)]


def read_all(tx: Connection, application_ids: Collection[str]) -> Iterator[tuple[str, Served]]:
    """Each Application's id with a Runtime that it serves, for all of these Applications and Runtimes."""
    return _pairs(tx, application_ids, None)


def read_some(
    tx: Connection, application_ids: Collection[str], runtime_ids: Collection[str]
) -> Iterator[tuple[str, Served]]:
    """As `read_all`, of these Runtimes alone."""
    for some in _batches(runtime_ids):
        yield from _pairs(tx, application_ids, some)


def read_oldest_ready(tx: Connection, application_id: str) -> str:
    """The Runtime, of those that an Application serves, that has been READY for longest; empty where none is."""
    runtime_id: str | None = tx.execute(_OLDEST_READY, {"ids": [application_id]}).scalar()
    return runtime_id or ""


def read_chosen(tx: Connection, application_ids: Collection[str]) -> dict[str, str]:
    """The Runtime that was chosen for an Application's events, by the ids of those that exist; empty where none is."""
    return {
        row.application_id: row.eventing_runtime_id
        for some in _batches(application_ids)
        for row in tx.execute(_CHOSEN, {"ids": some})
    }


def read_choosing(tx: Connection, runtime_id: str) -> list[tuple[str, str]]:
    """Ids and names of the Applications for whose events a Runtime was chosen, by name."""
    return [(row[0], row[1]) for row in tx.execute(_CHOOSING, {"id": runtime_id})]


def is_served(tx: Connection, application_id: str, runtime_id: str) -> bool:
    """Whether the Application serves the Runtime."""
    return tx.execute(_SOME, {"ids": [application_id], "runtime_ids": [runtime_id]}).first() is not None


def read_serving(tx: Connection, runtime_ids: Collection[str], group_ids: Collection[str]) -> set[str]:
    """The Applications that serve any of these Runtimes, or are in any of these groups."""
    found = {id for some in _batches(runtime_ids) for id in tx.execute(_SERVING, {"ids": some}).scalars()}
    return found.union(id for some in _batches(group_ids) for id in tx.execute(_IN_GROUPS, {"ids": some}).scalars())


def _pairs(
    tx: Connection, application_ids: Collection[str], runtime_ids: Collection[str] | None
) -> Iterator[tuple[str, Served]]:
    query, more = (_ALL, {}) if runtime_ids is None else (_SOME, {"runtime_ids": runtime_ids})
    for some in _batches(application_ids):
        for application_id, *served in tx.execute(query, {"ids": some, **more}):
            yield application_id, Served(*served)


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    return (ordered[i : i + _MOST_IDS] for i in range(0, len(ordered), _MOST_IDS))


# The statements are built once: building one costs more than SQLite takes to run it.
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_LIVING = (group_applications.c.removed_revision.is_(None), group_runtimes.c.removed_revision.is_(None))
_JOINED = group_applications.join(group_runtimes, group_applications.c.group_id == group_runtimes.c.group_id).join(
    runtimes, runtimes.c.runtime_id == group_runtimes.c.runtime_id
)
_ALL = (
    select(
        group_applications.c.application_id,
        runtimes.c.runtime_id,
        runtimes.c.name,
        runtimes.c.state,
        runtimes.c.event_url,
        runtimes.c.ready_time,
    )
    .select_from(_JOINED)
    .where(group_applications.c.application_id.in_(_IDS), *_LIVING)
    .distinct()
)
_SOME = _ALL.where(runtimes.c.runtime_id.in_(bindparam("runtime_ids", expanding=True)))
_PAGE = _ALL.where(runtimes.c.name > bindparam("after")).order_by(runtimes.c.name).limit(bindparam("limit"))
_OLDEST_READY = (
    select(runtimes.c.runtime_id)
    .select_from(_JOINED)
    .where(group_applications.c.application_id.in_(_IDS), *_LIVING, runtimes.c.ready_time.is_not(None))
    .order_by(runtimes.c.ready_time, runtimes.c.runtime_id)
    .limit(1)
)
_CHOSEN = select(applications.c.application_id, applications.c.eventing_runtime_id).where(
    applications.c.application_id.in_(_IDS)
)
_CHOOSING = (
    select(applications.c.application_id, applications.c.name)
    .where(applications.c.eventing_runtime_id == bindparam("id"))
    .order_by(applications.c.name)
)
_SERVING = (
    select(group_applications.c.application_id)
    .select_from(group_applications.join(group_runtimes, group_applications.c.group_id == group_runtimes.c.group_id))
    .where(group_runtimes.c.runtime_id.in_(_IDS), *_LIVING)
    .distinct()
)
_IN_GROUPS = (
    select(group_applications.c.application_id)
    .where(group_applications.c.group_id.in_(_IDS), group_applications.c.removed_revision.is_(None))
    .distinct()
)

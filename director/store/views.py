"""Queries that say what a Runtime, and what an Application, gets to see."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from moorage.director.v1.configuration_pb2 import (
    ApiConfiguration,
    ApplicationConfiguration,
    BundleConfiguration,
    EventApiConfiguration,
)
from moorage.director.v1.specification_pb2 import SPECIFICATION_FORMAT_UNSPECIFIED
from sqlalchemy import Column, Connection, Table, bindparam, or_, select

from director.store.tables import (
    apis,
    applications,
    bundles,
    event_apis,
    group_applications,
    group_runtimes,
    runtimes,
)
from director.store.versions import version_in
from mesh.database import OneOf, Prepared

_MOST_IDS = 500
"""Ids in one query."""

_Row = dict[str, Any]


class Span(NamedTuple):
    """One membership and when it held: from revision `added` on, up to but without `removed`, if that is set."""

    group_id: str
    member_id: str
    added: int
    removed: int | None

    def holds_at(self, revision: int) -> bool:
        """Whether the membership held at `revision`."""
        return self.added <= revision and (self.removed is None or self.removed > revision)


def read_living_runtimes(tx: Connection, runtime_ids: Collection[str]) -> dict[str, int]:
    """Those of `runtime_ids` that are in the registry, each with its `credentials_revision`."""
    rows = (row for some in _batches(runtime_ids) for row in _LIVING_RUNTIMES.all(tx, {"ids": some}))
    return {row["runtime_id"]: row["credentials_revision"] for row in rows}


def read_groups_of_runtimes(tx: Connection, runtime_ids: Collection[str], since: int | None = None) -> list[Span]:
    """The groups that these Runtimes are in, and, where `since` is set, were in at that revision or later."""
    return _spans(tx, _GROUPS_OF_RUNTIMES, runtime_ids, since)


def read_applications_of_groups(tx: Connection, group_ids: Collection[str], since: int | None = None) -> list[Span]:
    """The Applications that are in these groups, and, where `since` is set, were in them at that revision or later."""
    return _spans(tx, _APPLICATIONS_OF_GROUPS, group_ids, since)


def read_configurations(
    tx: Connection, application_ids: Collection[str]
) -> Iterator[tuple[int, ApplicationConfiguration]]:
    """What a Runtime knows of each living Application among these, and the revision that last changed it."""
    for some in _batches(application_ids):
        apis_held = _held(tx, _APIS, some)
        event_apis_held = _held(tx, _EVENT_APIS, some)
        bundles_held = _held(tx, _BUNDLES, some)
        for row in _APPLICATIONS.all(tx, {"ids": some}):
            application_id = row["application_id"]
            yield (
                row["configuration_revision"],
                ApplicationConfiguration(
                    application_id=application_id,
                    name=row["name"],
                    description=row["description"],
                    apis=[_api(each) for each in apis_held[application_id]],
                    event_apis=[_event_api(each) for each in event_apis_held[application_id]],
                    provider=row["provider"],
                    base_url=row["base_url"],
                    bundles=[_bundle(each) for each in bundles_held[application_id]],
                    credentials_revision=row["credentials_revision"],
                ),
            )


def _spans(tx: Connection, queries: "_SpanQueries", ids: Collection[str], since: int | None) -> list[Span]:
    query, values = (queries.living, {}) if since is None else (queries.since, {"since": since})
    return [Span(*row.values()) for some in _batches(ids) for row in query.all(tx, {"ids": some, **values})]


def _held(tx: Connection, query: Prepared, application_ids: Collection[str]) -> defaultdict[str, list[_Row]]:
    """Rows of what Applications hold by their Application, each in the order of the query."""
    held: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in query.all(tx, {"ids": application_ids}):
        held[row["application_id"]].append(row)
    return held


def _api(row: _Row) -> ApiConfiguration:
    return ApiConfiguration(api_id=row["api_id"], target_url=row["target_url"], **_common_fields(row))


def _event_api(row: _Row) -> EventApiConfiguration:
    return EventApiConfiguration(event_api_id=row["event_api_id"], **_common_fields(row))


def _common_fields(row: _Row) -> dict[str, Any]:
    """The fields that both kinds of offers have."""
    return {
        "name": row["name"],
        "description": row["description"],
        "specification_format": row["specification_format"] or SPECIFICATION_FORMAT_UNSPECIFIED,
        "specification_sha256": row["specification_sha256"] or "",
        "version": version_in(row),
        "version_group": row["version_group"],
        "bundle_id": row["bundle_id"] or "",
    }


def _bundle(row: _Row) -> BundleConfiguration:
    return BundleConfiguration(bundle_id=row["bundle_id"], name=row["name"], description=row["description"])


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    return (ordered[i : i + _MOST_IDS] for i in range(0, len(ordered), _MOST_IDS))


class _SpanQueries:
    """Two queries upon a table of memberships, by the ids in `key`: what holds now, and what held `since` or later."""

    def __init__(self, table: Table, key: str, member: str) -> None:
        columns = (table.c.group_id, table.c[member], table.c.added_revision, table.c.removed_revision)
        of_ids = select(*columns).where(OneOf(table.c[key], "ids"))
        living = table.c.removed_revision.is_(None)
        self.living = Prepared(of_ids.where(living))
        self.since = Prepared(of_ids.where(or_(living, table.c.removed_revision > bindparam("since"))))


def _of_applications(table: Table, *order: Column[Any]) -> Prepared:
    return Prepared(select(table).where(OneOf(table.c.application_id, "ids")).order_by(*order))


_LIVING_RUNTIMES = Prepared(
    select(runtimes.c.runtime_id, runtimes.c.credentials_revision).where(OneOf(runtimes.c.runtime_id, "ids"))
)
_GROUPS_OF_RUNTIMES = _SpanQueries(group_runtimes, "runtime_id", "runtime_id")
_APPLICATIONS_OF_GROUPS = _SpanQueries(group_applications, "group_id", "application_id")
_APPLICATIONS = _of_applications(applications)
_APIS = _of_applications(apis, apis.c.api_id)
_EVENT_APIS = _of_applications(event_apis, event_apis.c.event_api_id)
_BUNDLES = _of_applications(bundles, bundles.c.bundle_id)

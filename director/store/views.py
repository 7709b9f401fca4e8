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
from sqlalchemy import BindParameter, Connection, Row, Select, Table, bindparam, or_, select

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

_MOST_IDS = 500
"""Ids in one query: well under SQLite's limit of bound values."""


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
    rows = (row for some in _batches(runtime_ids) for row in tx.execute(_LIVING_RUNTIMES, {"ids": some}))
    return {row.runtime_id: row.credentials_revision for row in rows}


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
        for row in tx.execute(_APPLICATIONS, {"ids": some}):
            yield (
                row.configuration_revision,
                ApplicationConfiguration(
                    application_id=row.application_id,
                    name=row.name,
                    description=row.description,
                    apis=[_api(each) for each in apis_held[row.application_id]],
                    event_apis=[_event_api(each) for each in event_apis_held[row.application_id]],
                    provider=row.provider,
                    base_url=row.base_url,
                    bundles=[_bundle(each) for each in bundles_held[row.application_id]],
                    credentials_revision=row.credentials_revision,
                ),
            )


def _spans(tx: Connection, queries: "_SpanQueries", ids: Collection[str], since: int | None) -> list[Span]:
    query, values = (queries.living, {}) if since is None else (queries.since, {"since": since})
    return [Span(*row) for some in _batches(ids) for row in tx.execute(query, {"ids": some, **values})]


def _held(tx: Connection, query: Select[Any], application_ids: Collection[str]) -> defaultdict[str, list[Row[Any]]]:
    """Rows of what Applications hold by their Application, each in the order of the query."""
    held: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in tx.execute(query, {"ids": application_ids}):
        held[row.application_id].append(row)
    return held


def _api(row: Row[Any]) -> ApiConfiguration:
    return ApiConfiguration(api_id=row.api_id, target_url=row.target_url, **_common_fields(row))


def _event_api(row: Row[Any]) -> EventApiConfiguration:
    return EventApiConfiguration(event_api_id=row.event_api_id, **_common_fields(row))


def _common_fields(row: Row[Any]) -> dict[str, Any]:
    """The fields that both kinds of offers have."""
    return {
        "name": row.name,
        "description": row.description,
        "specification_format": row.specification_format or SPECIFICATION_FORMAT_UNSPECIFIED,
        "specification_sha256": row.specification_sha256 or "",
        "version": version_in(row._asdict()),
        "version_group": row.version_group,
        "bundle_id": row.bundle_id or "",
    }


def _bundle(row: Row[Any]) -> BundleConfiguration:
    return BundleConfiguration(bundle_id=row.bundle_id, name=row.name, description=row.description)


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    return (ordered[i : i + _MOST_IDS] for i in range(0, len(ordered), _MOST_IDS))


# The statements are built once: building one costs more than SQLite takes to run it.


class _SpanQueries:
    """Two queries upon a table of memberships, by the ids in `key`: what holds now, and what held `since` or later."""

    def __init__(self, table: Table, key: str, member: str) -> None:
        columns = (table.c.group_id, table.c[member], table.c.added_revision, table.c.removed_revision)
        of_ids = select(*columns).where(table.c[key].in_(_IDS))
        living = table.c.removed_revision.is_(None)
        self.living = of_ids.where(living)
        self.since = of_ids.where(or_(living, table.c.removed_revision > bindparam("since")))


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_LIVING_RUNTIMES = select(runtimes.c.runtime_id, runtimes.c.credentials_revision).where(runtimes.c.runtime_id.in_(_IDS))
_GROUPS_OF_RUNTIMES = _SpanQueries(group_runtimes, "runtime_id", "runtime_id")
_APPLICATIONS_OF_GROUPS = _SpanQueries(group_applications, "group_id", "application_id")
_APPLICATIONS = select(applications).where(applications.c.application_id.in_(_IDS))
_APIS = select(apis).where(apis.c.application_id.in_(_IDS)).order_by(apis.c.api_id)
_EVENT_APIS = select(event_apis).where(event_apis.c.application_id.in_(_IDS)).order_by(event_apis.c.event_api_id)
_BUNDLES = select(bundles).where(bundles.c.application_id.in_(_IDS)).order_by(bundles.c.bundle_id)

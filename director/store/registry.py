"""Queries upon the tables of named things: applications, groups, runtimes, and the offers of applications."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from director.store.search import Search
from director.store.tables import (
    apis,
    application_labels,
    applications,
    bundles,
    credentials,
    documents,
    event_apis,
    group_applications,
    group_runtimes,
    groups,
    label_definitions,
    plane,
    runtime_labels,
    runtimes,
    specification_fetches,
    specifications,
)
from mesh.database import Prepared

Values = Mapping[str, Any]
"""Columns and their values: a row that was read, or one to be written."""


class Registry:
    """One table of named things, `key` being the column of its ids, and `labels` the table of their labels.

    Names, in the column `name`, are unique, within `scope` where there is one. `search` lists them. The statements are
    built once: building one costs more than SQLite takes to run it.
    """

    def __init__(
        self, table: Table, key: str, scope: str | None = None, name: str = "name", labels: Table | None = None
    ) -> None:
        self.table = table
        self.key = key
        self.scope = scope
        self.name = name
        self._id: Column[str] = table.c[key]
        self._order = [table.c[name] for name in ((scope, name) if scope else (name,))]
        self._find = Prepared(self._select().where(self._id == bindparam("id")))
        self._holder = Prepared(select(self._id).where(*(column == bindparam(column.name) for column in self._order)))
        self._count = select(func.count()).select_from(table).where(self._order[0] == bindparam("scope"))
        self._delete = Prepared(delete(table).where(self._id == bindparam("id")))
        self._inserts: dict[tuple[str, ...], Prepared] = {}
        self._updates: dict[tuple[str, ...], Prepared] = {}
        self.search = Search(
            self._select_listed(), self._id, self._order, labels, self._scopes(), plane.c.get(table.name)
        )

    def find(self, tx: Connection, id: str) -> Values | None:
        """The row with this id."""
        return self._find.first(tx, {"id": id})

    def holder(self, tx: Connection, values: Values) -> str | None:
        """The id of the row that has the name, and is in the scope, of `values`."""
        row = self._holder.first(tx, {c.name: values[c.name] for c in self._order})
        return row[self.key] if row is not None else None

    def insert(self, tx: Connection, values: Values) -> None:
        """Write a new row."""
        columns = tuple(values)
        statement = self._inserts.get(columns)
        if statement is None:
            statement = self._inserts[columns] = Prepared(insert(self.table), columns)
        statement.run(tx, values)

    def update(self, tx: Connection, id: str, values: Values) -> None:
        """Set some columns of a row."""
        columns = tuple(values)
        statement = self._updates.get(columns)
        if statement is None:
            changed = {name: bindparam(f"new_{name}", type_=self.table.c[name].type) for name in columns}
            matching = update(self.table).where(self._id == bindparam("id"))
            statement = self._updates[columns] = Prepared(matching.values(changed))
        statement.run(tx, {"id": id, **{f"new_{name}": value for name, value in values.items()}})

    def update_all(self, tx: Connection, ids: Collection[str], values: Values) -> None:
        """Set some columns of several rows to the same values."""
        if ids:
            tx.execute(update(self.table).where(self._id.in_(ids)).values(**values))

    def delete(self, tx: Connection, id: str) -> None:
        """Remove a row, with those that hang on it."""
        self._delete.run(tx, {"id": id})

    def present(self, tx: Connection, ids: Collection[str]) -> set[str]:
        """Those of `ids` that exist."""
        return set(tx.execute(select(self._id).where(self._id.in_(ids))).scalars()) if ids else set()

    def count(self, tx: Connection, scope: str) -> int:
        """How many rows there are of one scope."""
        number: int = tx.execute(self._count, {"scope": scope}).scalar_one()
        return number

    def _select(self) -> Any:
        return select(self.table)

    def _select_listed(self) -> Any:
        """What a list reads of each row."""
        return self._select()

    def _scopes(self) -> dict[str, ColumnElement[bool]]:
        """What can narrow a list, beside its filter: each has its value in the parameter `scope_` and its name."""
        return {self.scope: self.table.c[self.scope] == bindparam(f"scope_{self.scope}")} if self.scope else {}


class OfferRegistry(Registry):
    """A table of offers: their rows come with what is known of their document, save its content, and of its fetch."""

    def _select(self) -> Any:
        document, fetch = specifications.c, specification_fetches.c
        about = (document.size_bytes, document.state, document.problems)
        fetching = (fetch.url, fetch.state, fetch.failure, fetch.attempts, fetch.attempt_time)
        return select(
            self.table,
            *(column.label(f"specification_{column.name}") for column in about),
            *(column.label(f"fetch_{column.name}") for column in fetching),
        ).select_from(
            self.table.outerjoin(
                specifications,
                (document.sha256 == self.table.c.specification_sha256)
                & (document.format == self.table.c.specification_format),
            ).outerjoin(specification_fetches, fetch.offer_id == self._id)
        )


class ApiRegistry(OfferRegistry):
    """The table of APIs: their rows come with the type of their shared credential, too."""

    def _select(self) -> Any:
        return _with_credential_type(super()._select(), self.table, self._id)


class BundleRegistry(Registry):
    """The table of bundles: their rows come with the type of their shared credential."""

    def _select(self) -> Any:
        return _with_credential_type(super()._select(), self.table, self._id)


class DocumentRegistry(Registry):
    """The table of documents: a list leaves their content where it is."""

    def _select_listed(self) -> Any:
        return select(*(column for column in self.table.c if column.name != "content"))


class GroupRegistry(Registry):
    """The table of groups: a list can be narrowed to those that an Application, a Runtime or both are in."""

    def _scopes(self) -> dict[str, ColumnElement[bool]]:
        return {
            member: self._id.in_(
                select(memberships.c.group_id).where(
                    memberships.c[member] == bindparam(f"scope_{member}"), memberships.c.removed_revision.is_(None)
                )
            )
            for memberships, member in ((group_applications, "application_id"), (group_runtimes, "runtime_id"))
        }


def _with_credential_type(query: Select[Any], table: Table, id: Column[str]) -> Select[Any]:
    credential = credentials.c
    [rows] = query.get_final_froms()
    joined = rows.outerjoin(
        credentials,
        (credential.application_id == table.c.application_id)
        & (credential.target_id == id)
        & (credential.runtime_id == ""),
    )
    return query.add_columns(credential.type.label("credential_type")).select_from(joined)


APPLICATIONS = Registry(applications, "application_id", labels=application_labels)
GROUPS = GroupRegistry(groups, "group_id")
RUNTIMES = Registry(runtimes, "runtime_id", labels=runtime_labels)
APIS = ApiRegistry(apis, "api_id", scope="application_id")
EVENT_APIS = OfferRegistry(event_apis, "event_api_id", scope="application_id")
BUNDLES = BundleRegistry(bundles, "bundle_id", scope="application_id")
DOCUMENTS = DocumentRegistry(documents, "document_id", scope="application_id")
LABEL_DEFINITIONS = Registry(label_definitions, "key", name="key")

"""Queries upon labels: who has which, and what is defined of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    literal,
    select,
    union,
    union_all,
)

from director.store.registry import APPLICATIONS, RUNTIMES, Registry
from director.store.tables import application_labels, label_definitions, runtime_labels

_KEY: BindParameter[str] = bindparam("key")
_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_VALUES: BindParameter[Any] = bindparam("values", expanding=True)


class Holder(NamedTuple):
    """One that has a label: what it is, such as `application`, its name, and the label's value."""

    noun: str
    name: str
    value: str


class LabelIndex:
    """The index of the labels of one kind of thing: it holds what the column `labels` of their rows does."""

    def __init__(self, table: Table, holders: Registry, noun: str) -> None:
        self.table = table
        self.holders = holders
        self.noun = noun
        self._holder = table.c[holders.key]
        self._delete = delete(table).where(self._holder == bindparam("holder"), table.c.key.in_(_KEYS))
        self._insert = insert(table)

    def change(self, tx: Connection, id: str, gone: Collection[str], new: Mapping[str, str]) -> None:
        """Remove the labels of a holder whose keys are in `gone`, then add those of `new`."""
        if gone:
            tx.execute(self._delete, {"holder": id, "keys": sorted(gone)})
        if new:
            tx.execute(self._insert, [{self.holders.key: id, "key": key, "value": new[key]} for key in sorted(new)])

    def values(self) -> Select[Any]:
        """The query of the values that a key has."""
        return select(self.table.c.value).where(self.table.c.key == _KEY)

    def holding(self) -> Select[Any]:
        """The query of those that have a key."""
        holders = self.holders.table
        return (
            select(literal(self.noun).label("noun"), holders.c.name.label("name"), self.table.c.value.label("value"))
            .join(holders, holders.c[self.holders.key] == self._holder)
            .where(self.table.c.key == _KEY)
        )


def values_of(tx: Connection, key: str) -> Sequence[str]:
    """The values that a key has anywhere, each once."""
    return tx.execute(_VALUES_OF, {"key": key}).scalars().all()


def holders_of(tx: Connection, key: str, limit: int, values: Collection[str] | None = None) -> list[Holder]:
    """The first `limit` of those that have a key, with one of `values` where given; Applications first, by name."""
    query, chosen = (_HOLDING, {}) if values is None else (_HOLDING_VALUES, {"values": sorted(values)})
    return [Holder(*row) for row in tx.execute(query, {"key": key, "limit": limit, **chosen})]


def schemas_of(tx: Connection, keys: Collection[str]) -> dict[str, str]:
    """The schemas of those of `keys` that have one."""
    return {row.key: row.schema for row in tx.execute(_SCHEMAS, {"keys": sorted(keys)})} if keys else {}


APPLICATION_LABELS = LabelIndex(application_labels, APPLICATIONS, "application")
RUNTIME_LABELS = LabelIndex(runtime_labels, RUNTIMES, "runtime")
_ALL = (APPLICATION_LABELS, RUNTIME_LABELS)


def _first(parts: Collection[Select[Any]]) -> Any:
    return union_all(*parts).order_by("noun", "name").limit(bindparam("limit"))


_VALUES_OF = union(*(each.values() for each in _ALL))
_HOLDING = _first([each.holding() for each in _ALL])
_HOLDING_VALUES = _first([each.holding().where(each.table.c.value.in_(_VALUES)) for each in _ALL])
_SCHEMAS = select(label_definitions.c.key, label_definitions.c.schema).where(
    label_definitions.c.key.in_(_KEYS), label_definitions.c.schema != ""
)

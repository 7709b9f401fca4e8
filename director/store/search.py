"""Pages of a search, and how many things it finds.

The statements are built once for each shape of a question: building one costs more than SQLite takes to run it.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, bindparam, func, or_, select, tuple_

from director.search.conditions import Condition
from director.search.query import Order, Query, SortKey
from director.store.conditions import bytewise, matches, parameters

Place = tuple[str | int, ...]
"""Where a row stands in an order: the values that the order goes by."""

NOWHERE: Mapping[str, str] = {}

_MOST_STATEMENTS = 128


class Search:
    """Questions upon what `listed` selects from `table`.

    `id` is the column of the ids; `order` are columns that tell every two rows apart, by which they are ordered where
    a question says nothing. `labels` is the table of their labels. `scopes` are conditions that narrow a list from
    outside of its filter; the value of the scope `x` is the parameter `scope_x`. `count` is a column of
    another table that says how many rows there are.
    """

    def __init__(
        self,
        listed: Select[Any],
        id: Column[str],
        order: Sequence[Column[Any]],
        labels: Table | None = None,
        scopes: Mapping[str, ColumnElement[bool]] | None = None,
        count: Column[int] | None = None,
    ) -> None:
        self._listed = listed
        self._id = id
        self._order: Order = tuple(SortKey(column.name) for column in order)
        self._labels = labels
        self._scopes = scopes or {}
        self._count = count
        self._page = lru_cache(_MOST_STATEMENTS)(self._build_page)
        self._total = lru_cache(_MOST_STATEMENTS)(self._build_total)

    def page(
        self, tx: Connection, query: Query, after: Place | None, limit: int, within: Mapping[str, str] = NOWHERE
    ) -> Sequence[Mapping[str, Any]]:
        """The first `limit` rows beyond the place `after`, of those that are `within` some scopes."""
        statement = self._page(query.condition, query.order, tuple(within), after is not None)
        values = {"limit": limit, **self._parameters(query, within)}
        for number, part in enumerate(after or ()):
            values[f"after_{number}"] = part
        return [row._asdict() for row in tx.execute(statement, values)]

    def total(self, tx: Connection, query: Query, within: Mapping[str, str] = NOWHERE) -> int:
        """How many rows there are on all pages."""
        statement = self._total(query.condition, tuple(within))
        number: int = tx.execute(statement, self._parameters(query, within)).scalar_one()
        return number

    def place(self, row: Mapping[str, Any], query: Query) -> Place:
        """A row's place in the order that a question asks for."""
        return tuple(row[key.column] for key in self._keys(query.order))

    def place_types(self, query: Query) -> tuple[type, ...]:
        """The types of the parts of a place."""
        return tuple(self._column(key.column).type.python_type for key in self._keys(query.order))

    def _keys(self, order: Order) -> Order:
        """An order that tells every two rows apart: the id comes last, in the direction of what is before it."""
        if not order:
            return self._order
        if any(key.column == self._id.name for key in order):
            return order
        return (*order, SortKey(self._id.name, order[-1].descending))

    def _parameters(self, query: Query, within: Mapping[str, str]) -> dict[str, Any]:
        return {**parameters(query.values), **{f"scope_{name}": value for name, value in within.items()}}

    def _build_page(
        self, condition: Condition | None, order: Order, within: Collection[str], is_beyond: bool
    ) -> Select[Any]:
        keys = self._keys(order)
        ordered = [column.desc() if key.descending else column.asc() for key in keys for column in [self._ordered(key)]]
        statement = self._narrowed(self._listed, condition, within).order_by(*ordered).limit(bindparam("limit"))
        return statement.where(self._beyond(keys)) if is_beyond else statement

    def _build_total(self, condition: Condition | None, within: Collection[str]) -> Select[Any]:
        if condition is None and not within and self._count is not None:
            return select(self._count)
        counted = self._narrowed(select(func.count()).select_from(self._id.table), condition, within)
        if len(counted.get_final_froms()) == 1:
            return counted
        # Only where the condition is about what is joined: a join costs many times what counting does.
        return self._narrowed(self._listed.with_only_columns(func.count(self._id)), condition, within)

    def _narrowed(self, statement: Select[Any], condition: Condition | None, within: Collection[str]) -> Select[Any]:
        for name in within:
            statement = statement.where(self._scopes[name])
        if condition is None:
            return statement
        return statement.where(matches(condition, self._column, self._id, self._labels))

    def _beyond(self, keys: Order) -> ColumnElement[bool]:
        """What comes after the place whose parts are the parameters `after_0`, `after_1` and so on."""
        columns = [self._ordered(key) for key in keys]
        values = [bindparam(f"after_{number}", type_=self._column(key.column).type) for number, key in enumerate(keys)]
        if all(key.descending == keys[0].descending for key in keys):
            return _after(keys[0], tuple_(*columns), tuple_(*values))
        beyond = _after(keys[-1], columns[-1], values[-1])
        for key, column, value in list(zip(keys, columns, values, strict=True))[-2::-1]:
            # Said of the column alone first, so that an index upon it leads to the place.
            at_least = column <= value if key.descending else column >= value
            beyond = and_(at_least, or_(_after(key, column, value), beyond))
        return beyond

    def _ordered(self, key: SortKey) -> ColumnElement[Any]:
        column = self._column(key.column)
        return bytewise(column) if column.type.python_type is str else column

    def _column(self, name: str) -> ColumnElement[Any]:
        return self._listed.selected_columns[name]


def _after(key: SortKey, column: Any, value: Any) -> ColumnElement[bool]:
    after: ColumnElement[bool] = column < value if key.descending else column > value
    return after

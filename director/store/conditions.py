"""Conditions as SQL that means the same on SQLite and on PostgreSQL.

The two differ where texts are compared. PostgreSQL orders them by the language of the database, unless told to
compare bytes. SQLite's LIKE takes `A` for `a`, and its lower() knows no letters but those of ASCII.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    String,
    Table,
    and_,
    bindparam,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from director.search.conditions import Condition, Operation, Test
from director.search.fields import Type
from director.search.tree import All, AnyOf, Not

Columns = Callable[[str], ColumnElement[Any]]
"""Gives the column of a name."""


class bytewise(FunctionElement[str]):  # noqa: N801 - it reads as a function of SQL
    """A text that is compared and ordered by its bytes (UTF-8), which is by its code points."""

    inherit_cache = True
    type = String()
    name = "bytewise"


@compiles(bytewise)
def _as_it_is(element: bytewise, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(bytewise, "postgresql")
def _with_collation(element: bytewise, compiler: SQLCompiler, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)} COLLATE "C")'


def matches(
    condition: Condition, columns: Columns, id: Column[str], labels: Table | None = None
) -> ColumnElement[bool]:
    """A condition upon the columns of a table, with its values as the parameters `value_0`, `value_1` and so on.

    `labels` is the table of the labels of those things, whose ids are in `id` and, there, in the column of its name.
    """
    return _Builder(columns, id, labels).build(condition)


def parameters(values: Any) -> dict[str, Any]:
    """The parameters that `matches` speaks of."""
    return {f"value_{number}": value for number, value in enumerate(values)}


class _Builder:
    def __init__(self, columns: Columns, id: Column[str], labels: Table | None) -> None:
        self._columns = columns
        self._id = id
        self._labels = labels
        self._count = 0

    def build(self, condition: Condition) -> ColumnElement[bool]:
        if isinstance(condition, Not):
            return not_(self.build(condition.part))
        if isinstance(condition, All):
            return and_(*map(self.build, condition.parts))
        if isinstance(condition, AnyOf):
            return or_(*map(self.build, condition.parts))
        if condition.field.type is Type.LABELS:
            return self._labelled(condition)
        column = self._columns(condition.field.column)
        test = self._test(column, condition)
        # Where the column is null, the test is false, and not null itself: NOT of it is true.
        return and_(column.is_not(None), test) if getattr(column, "nullable", True) else test

    def _labelled(self, test: Test) -> ColumnElement[bool]:
        if self._labels is None:
            raise ValueError(f"there is no table of the labels of {self._id}")
        labels = self._labels.c
        # Not EXISTS: SQLite would look for the labels of each thing, where their index gives the things.
        found = select(labels[self._id.name])
        if test.keyed:
            found = found.where(labels.key == self._parameter(String()))
        if test.operation is not Operation.IS_SET:
            found = found.where(self._test(labels.value, test))
        return self._id.in_(found)

    def _test(self, column: ColumnElement[Any], test: Test) -> ColumnElement[bool]:
        if test.operation is Operation.IS_SET:
            return _is_set(column, test.field.type)
        if test.operation in _COMPARE:
            type, ordered = _TYPES[test.field.type]
            is_order = ordered and test.operation is not Operation.EQUAL
            return _COMPARE[test.operation](bytewise(column) if is_order else column, self._parameter(type))
        return _MATCH[test.operation](column, self._parameter(String()))

    def _parameter(self, type: TypeEngine[Any]) -> ColumnElement[Any]:
        name = f"value_{self._count}"
        self._count += 1
        return bindparam(name, type_=type)


_TYPES: dict[Type, tuple[TypeEngine[Any], bool]] = {
    Type.TEXT: (String(), True),
    Type.LABELS: (String(), True),
    Type.INTEGER: (BigInteger(), False),
    Type.TIME: (BigInteger(), False),
    Type.ENUM: (BigInteger(), False),
    Type.BOOLEAN: (Boolean(), False),
}
"""The type of a parameter, and whether such values are texts."""


def _is_set(column: ColumnElement[Any], type: Type) -> ColumnElement[bool]:
    if type is Type.TIME:
        return column.is_not(None)
    return column != (literal("") if type is Type.TEXT else literal(False) if type is Type.BOOLEAN else literal(0))


def _starts(column: ColumnElement[Any], text: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.substr(column, 1, func.length(text)) == text


def _ends(column: ColumnElement[Any], text: ColumnElement[Any]) -> ColumnElement[bool]:
    # What is shorter than the text gives all of itself, or less, and is not equal.
    return func.substr(column, func.length(column) - func.length(text) + 1) == text


def _contains(column: ColumnElement[Any], text: ColumnElement[Any]) -> ColumnElement[bool]:
    # Taking it out changes what has it in it. Nothing can be taken out for the empty text, which everything has.
    return or_(func.replace(column, text, "") != column, text == "")


def _mentions(column: ColumnElement[Any], text: ColumnElement[Any]) -> ColumnElement[bool]:
    return _contains(func.lower(bytewise(column)), text)


_COMPARE: dict[Operation, Callable[[Any, Any], ColumnElement[bool]]] = {
    Operation.EQUAL: lambda column, value: column == value,
    Operation.LESS: lambda column, value: column < value,
    Operation.LESS_OR_EQUAL: lambda column, value: column <= value,
    Operation.GREATER: lambda column, value: column > value,
    Operation.GREATER_OR_EQUAL: lambda column, value: column >= value,
}
_MATCH: dict[Operation, Callable[[Any, Any], ColumnElement[bool]]] = {
    Operation.STARTS: _starts,
    Operation.ENDS: _ends,
    Operation.CONTAINS: _contains,
    Operation.MENTIONS: _mentions,
}

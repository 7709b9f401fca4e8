"""Registries with any values that their tables take, whether or not a Director would write them."""

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any, NamedTuple

from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Table

from director.store.tables import data_keys, plane
from director.store.transfer import TABLES

Registry = dict[str, list[dict[str, Any]]]

_LONGEST = 12
_CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


class _Values(NamedTuple):
    """What columns get, one after the other: few draws make many rows."""

    texts: Iterator[str]
    binaries: Iterator[bytes]
    integers: Iterator[int]
    booleans: Iterator[bool]
    nulls: Iterator[bool]
    """Whether a column that may be null is."""
    counts: Iterator[int]
    """How many rows a table has."""


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    """The rows of every table, by its name; foreign keys hold."""

    def some(of: st.SearchStrategy[Any]) -> Iterator[Any]:
        return cycle(draw(st.lists(of, min_size=1, max_size=7)))

    values = _Values(
        some(st.text(_CHARACTERS, max_size=_LONGEST)),
        some(st.binary(max_size=40)),
        some(st.integers(-(2**63), 2**63 - 1)),
        some(st.booleans()),
        some(st.booleans()),
        some(st.integers(0, 3)),
    )
    made: Registry = {}
    for name, table in TABLES.items():
        rows = (_row(values, table, number, made) for number in range(1 if table is plane else next(values.counts)))
        made[name] = [row for row in rows if row is not None]
    return made


def _row(values: _Values, table: Table, number: int, made: Mapping[str, Any]) -> dict[str, Any] | None:
    """One unlike the others of the table in all that must be; None where what it would refer to is not there."""
    row: dict[str, Any] = {column.name: _value(values, column, number) for column in table.columns}
    for constraint in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
        others = made[constraint.referred_table.name]
        if number < len(others):
            row |= {element.parent.name: others[number][element.column.name] for element in constraint.elements}
        elif not all(column.nullable for column in constraint.columns):
            return None
        else:
            row |= dict.fromkeys(column.name for column in constraint.columns)
    if table is plane:
        row["id"] = 1
    if table is data_keys:
        row["state"] = "RETIRED" if number else "ACTIVE"
    return row


def _value(values: _Values, column: Column[Any], number: int) -> Any:
    if column.nullable and next(values.nulls):
        return None
    kind: Any = column.type.python_type
    if kind is int:
        return _integer(values, column, number)
    if kind is str:
        length: int | None = getattr(column.type, "length", None)
        apart = f"{number}" if length or column.primary_key else ""
        return (apart + next(values.texts))[:length]
    return next(values.binaries if kind is bytes else values.booleans)


def _integer(values: _Values, column: Column[Any], number: int) -> int:
    if column.primary_key:
        return number + 1
    value = next(values.integers)
    return value if isinstance(column.type, BigInteger) else value >> 32

"""Statements that run often: SQLAlchemy compiles each once, and the driver itself runs it.

Between two calls of a service a processor forgets what it knew, and SQLAlchemy's way through a statement is long:
of one small SELECT it is most of the cost (decision 15). What a statement says is SQLAlchemy's, for both engines.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    Text,
    TypeDecorator,
    Update,
    bindparam,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Statement: TypeAlias = "Select[Any] | Insert | Update | Delete"
Convert: TypeAlias = Callable[[Any], Any]


class Prepared:
    """A statement, to be run with values for its parameters.

    `keys` are the columns that an INSERT sets; all that an UPDATE sets are parameters of it. A list is one parameter
    with `OneOf`; SQLAlchemy's `IN` is not known here. What fails raises the driver's own error, which the unit's caller
    knows too.
    """

    def __init__(self, statement: Statement, keys: Collection[str] | None = None) -> None:
        self._statement = statement
        self._keys = keys
        self._compiled: dict[str, _Compiled] = {}

    def first(self, tx: Connection, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first row, by the names of its columns."""
        compiled = self._of(tx)
        row = _driver(tx).execute(compiled.sql, compiled.parameters(values)).fetchone()
        return compiled.named(row) if row is not None else None

    def all(self, tx: Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All rows, each by the names of its columns."""
        compiled = self._of(tx)
        return [compiled.named(row) for row in _driver(tx).execute(compiled.sql, compiled.parameters(values))]

    def run(self, tx: Connection, values: Mapping[str, Any]) -> int:
        """Run it; says how many rows it wrote."""
        compiled = self._of(tx)
        count: int = _driver(tx).execute(compiled.sql, compiled.parameters(values)).rowcount
        return count

    def run_each(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it with the values of each row."""
        compiled = self._of(tx)
        _driver(tx).cursor().executemany(compiled.sql, [compiled.parameters(row) for row in rows])

    def _of(self, tx: Connection) -> "_Compiled":
        compiled = self._compiled.get(tx.dialect.name)
        if compiled is None:
            compiled = self._compiled[tx.dialect.name] = _Compiled(self._statement, tx.dialect, self._keys)
        return compiled


class OneOf(ColumnElement[bool]):
    """Whether a column of text has one of the values of the list that is given for the parameter `key`."""

    inherit_cache = False
    type = Boolean()
    _is_implicitly_boolean = True  # or it becomes `... = 1` on SQLite, which no index answers

    def __init__(self, column: ColumnElement[Any], key: str) -> None:
        self.column = column
        self.values = bindparam(key, type_=_Texts())


class _Texts(TypeDecorator[Sequence[str]]):
    """A list of texts as one value: an array, and on SQLite the JSON of one."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        return json.dumps(value) if dialect.name == "sqlite" else value


@compiles(OneOf, "sqlite")
def _one_of_json(element: OneOf, compiler: SQLCompiler, **how: Any) -> str:
    column, values = compiler.process(element.column, **how), compiler.process(element.values, **how)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - a column and a parameter, compiled


@compiles(OneOf, "postgresql")
def _one_of_array(element: OneOf, compiler: SQLCompiler, **how: Any) -> str:
    return f"{compiler.process(element.column, **how)} = ANY({compiler.process(element.values, **how)})"


class _Compiled:
    """A statement for one kind of database: its text, and how values get into it and out of it."""

    def __init__(self, statement: Statement, dialect: Dialect, keys: Collection[str] | None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(keys) if keys else None)
        if any(bind.expanding for bind in compiled.binds.values()):
            raise ValueError("a statement with a parameter that stands for a list cannot be prepared")
        self.sql = compiled.string
        self._names = compiled.positiontup
        self._constants = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
        self._into = [
            (name, convert)
            for name, bind in compiled.binds.items()
            if (convert := _implemented(bind.type, dialect).bind_processor(dialect)) is not None
        ]
        columns = statement.exported_columns
        self._columns = tuple(map(str, columns.keys()))
        self._out_of = [
            (name, convert)
            for name, column in zip(self._columns, columns.values(), strict=True)
            if (convert := _implemented(column.type, dialect).result_processor(dialect, None)) is not None
        ]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """As the driver takes them: by position, or by name."""
        if self._constants or self._into:
            values = {**self._constants, **values}
            for name, convert in self._into:
                values[name] = convert(values[name])
        return values if self._names is None else [values[name] for name in self._names]

    def named(self, row: Sequence[Any]) -> dict[str, Any]:
        """A row by the names of its columns."""
        named = dict(zip(self._columns, row, strict=True))
        for name, convert in self._out_of:
            named[name] = convert(named[name])
        return named


def _implemented(type: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return type.dialect_impl(dialect)


def _driver(tx: Connection) -> Any:
    return tx.connection.driver_connection

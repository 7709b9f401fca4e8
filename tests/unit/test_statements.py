"""Statements that run often find their rows by an index, however large the registry and the ledger become."""

import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import pytest
import sqlalchemy
from sqlalchemy import Engine, MetaData

import connector.store
import director.store
from director.store.tables import metadata as director_tables
from mesh.database import Prepared

SMALL = {"plane", "ledger", "data_keys", "authorities", "one", "CONSTANT"}
"""Tables that have a few rows for good, and a subquery of one."""

WHOLE = {"director.store.fleet._ALL"}
"""Statements that are to read all there is: what somebody who begins to watch is sent."""


def prepared(of: object, name: str) -> Iterator[tuple[str, Prepared]]:
    if isinstance(of, Prepared):
        yield name, of
    elif type(of).__module__.startswith(("director.", "connector.")) and hasattr(of, "__dict__"):
        for key, each in vars(of).items():
            yield from prepared(each, f"{name}.{key}")


def statements(package: ModuleType, tables: MetaData) -> Iterator[object]:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        for key, value in vars(module).items():
            for name, statement in prepared(value, f"{found.name}.{key}"):
                if name in WHOLE:
                    continue
                yield pytest.param(statement, tables, id=name)


@cache
def empty(tables: MetaData) -> Engine:
    engine = sqlalchemy.create_engine("sqlite://")
    tables.create_all(engine)
    return engine


@pytest.mark.parametrize(
    ("statement", "tables"),
    [*statements(director.store, director_tables), *statements(connector.store, connector.store.metadata)],
)
def test_no_table_that_grows_is_read_from_one_end_to_the_other(statement: Prepared, tables: MetaData) -> None:
    with empty(tables).connect() as connection:
        compiled = statement._of(connection)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        nothing = [None] * compiled.sql.count("?")
        plan = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {compiled.sql}", nothing)]

    scanned = {step.split()[1] for step in plan if step.startswith("SCAN") and "json_each" not in step}
    assert scanned <= SMALL, plan

"""How lists are read: a page comes from an index, in order, however much there is beside it."""

from typing import Any

import pytest
from sqlalchemy import event, text

from tests.unit.director.listed import LISTED, Listed
from tests.unit.director.plane import Plane

# On PostgreSQL, as if there were much: to sort all of a small table costs less than a look into its index.
AS_IF_LARGE = "SET enable_seqscan = {0}; SET enable_bitmapscan = {0}; SET enable_hashjoin = {0}; SET enable_sort = {0}"


def plan_of(plane: Plane, kind: Listed, **asked: str) -> str:
    """How the database reads the first thing that it reads for a list: the page."""
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if f"FROM {kind.table.name}" in statement:
            statements.append((statement, parameters))

    event.listen(plane.database.engine, "before_cursor_execute", note)
    try:
        kind.page(plane, kind.request(**asked))
    finally:
        event.remove(plane.database.engine, "before_cursor_execute", note)
    statement, parameters = statements[0]
    with plane.transaction() as tx:
        on_sqlite = tx.dialect.name == "sqlite"
        if not on_sqlite:
            tx.execute(text(AS_IF_LARGE.format("off")))
        rows = tx.exec_driver_sql(f"EXPLAIN {'QUERY PLAN' if on_sqlite else ''} {statement}", parameters)
        plan = "\n".join(str(row) for row in rows)
        if not on_sqlite:
            tx.execute(text(AS_IF_LARGE.format("on")))
    return plan


def assert_comes_from_an_index(plan: str, table: str) -> None:
    assert f"SCAN {table} USING INDEX" in plan or f"SEARCH {table} USING INDEX" in plan or f"on {table} " in plan, plan
    for sorting in ("Sort", "TEMP B-TREE", "Seq Scan"):
        assert sorting not in plan


@pytest.mark.parametrize("name", LISTED)
def test_a_page_in_the_order_of_its_kind_comes_from_an_index(plane: Plane, name: str) -> None:
    kind = LISTED[name]
    key = ("a", "b") if kind.is_held else ("a",)
    for asked in ({}, {"page_token": kind.token(*key)}):
        assert_comes_from_an_index(plan_of(plane, kind, **asked), kind.table.name)


@pytest.mark.parametrize("name", [name for name, kind in LISTED.items() if kind.is_held])
def test_a_page_of_what_one_application_holds_comes_from_an_index(plane: Plane, name: str) -> None:
    kind = LISTED[name]
    asked = {"application_id": plane.application().application_id}
    assert_comes_from_an_index(plan_of(plane, kind, **asked), kind.table.name)


@pytest.mark.parametrize("name", ["application", "api", "event_api", "runtime"])
@pytest.mark.parametrize("order_by", ["create_time", "create_time desc"])
def test_a_page_in_the_order_of_creation_comes_from_an_index(plane: Plane, name: str, order_by: str) -> None:
    assert_comes_from_an_index(plan_of(plane, LISTED[name], order_by=order_by), LISTED[name].table.name)

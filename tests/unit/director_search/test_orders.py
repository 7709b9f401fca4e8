"""Walks in the order that was asked for: each thing once, whatever happens meanwhile."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete

from director.search.query import Query, read_order
from director.store.tables import runtimes
from tests.unit.director.refused import refused
from tests.unit.director_search.rows import RUNTIME_FIELDS, RUNTIMES, Row, Rows, add, refusal_of, runtime

FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIELDS = ["name", "description", "state", "create_time"]
LETTERS = "abAB-é"

ORDERS = st.lists(st.sampled_from(FIELDS), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"{name} desc"]) for name in names))
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.text(LETTERS, max_size=3),
            "description": st.text(LETTERS, max_size=1),
            "state": st.integers(1, 3),
            "create_time": st.sampled_from([0, 1, 2**40]),
        }
    ),
    max_size=10,
    unique_by=lambda row: row["name"],
).map(lambda all: [runtime(**cast("dict[str, Any]", row)) for row in all])


def nothing(tx: Connection) -> None:
    """What happens meanwhile, by default."""


def walk(
    tx: Connection, query: Query, size: int, meanwhile: Callable[[Connection], None] = nothing
) -> list[dict[str, Any]]:
    """All rows, page by page; `meanwhile` comes between the first page and the second."""
    met: list[dict[str, Any]] = []
    after = None
    while page := RUNTIMES.page(tx, query, after, size):
        if not met:
            meanwhile(tx)
        met += map(dict, page)
        after = RUNTIMES.place(page[-1], query)
        assert [type(part) for part in after] == list(RUNTIMES.place_types(query))
    return met


def in_order(all: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """The rows sorted as `order` says, and then by their ids in the direction of the last field."""
    keys = [*order, "runtime_id desc" if order[-1].endswith(" desc") else "runtime_id"] if order else ["name"]
    ordered = list(all)
    for key in reversed(keys):
        name, *descending = key.split()
        ordered.sort(
            key=lambda row: row[name].encode() if isinstance(row[name], str) else row[name], reverse=bool(descending)
        )
    return ordered


@FEW
@given(all=ROWS, order=ORDERS, size=st.integers(1, 4))
def test_a_walk_meets_each_thing_once_in_the_order_asked_for(
    rows: Rows, all: Sequence[Row], order: Sequence[str], size: int
) -> None:
    query = Query(order=read_order(", ".join(order), RUNTIME_FIELDS))
    with rows.holding(all) as tx:
        assert [row["name"] for row in walk(tx, query, size)] == [row["name"] for row in in_order(all, order)]


@FEW
@given(all=ROWS, more=ROWS, order=ORDERS, size=st.integers(1, 4), data=st.data())
def test_what_comes_and_goes_meanwhile_makes_a_walk_miss_or_repeat_nothing_else(
    rows: Rows, all: Sequence[Row], more: Sequence[Row], order: Sequence[str], size: int, data: st.DataObject
) -> None:
    query = Query(order=read_order(",".join(order), RUNTIME_FIELDS))
    taken = {row["name"] for row in all}
    newcomers = [row for row in more if row["name"] not in taken]
    doomed = data.draw(st.sets(st.sampled_from(sorted(taken)))) if taken else set()

    def meanwhile(tx: Connection) -> None:
        tx.execute(delete(runtimes).where(runtimes.c.name.in_(doomed)))
        add(tx, newcomers)

    with rows.holding(all) as tx:
        met = [row["name"] for row in walk(tx, query, size, meanwhile)]
    assert len(met) == len(set(met))
    assert taken - doomed <= set(met)
    known = {row["name"]: row for row in [*all, *newcomers]}
    assert met == [row["name"] for row in in_order([known[name] for name in met], order)]


@pytest.mark.parametrize("text", ["", "  ", "name", "name desc", " name  desc , state,create_time desc"])
def test_an_order_is_fields_with_commas_between(text: str) -> None:
    order = read_order(text, RUNTIME_FIELDS)
    assert [(key.column, key.descending) for key in order] == [
        (part.split()[0], part.endswith("desc")) for part in (part.strip() for part in text.split(",")) if part
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nme", "there is no field 'nme' to order by; there are name, description"),
        ("labels", "there is no field 'labels'"),
        ("name,", "there is no field ''"),
        (",", "there is no field ''"),
        ("name asc", "not asc"),
        ("name DESC", "not DESC"),
        ("name desc desc", "not desc desc"),
        ("name state", "not state"),
        ("name, name desc", "name is named twice"),
    ],
)
def test_what_is_no_order_is_refused(text: str, said: str) -> None:
    with refused("FIELD_INVALID", "order_by") as caught:
        read_order(text, RUNTIME_FIELDS)
    assert said in caught.message


@given(st.text(max_size=30) | st.lists(st.sampled_from(["name", "desc", ",", " ", "x"])).map("".join))
def test_any_text_is_an_order_or_is_refused_as_one(text: str) -> None:
    refusal = refusal_of(lambda: read_order(text, RUNTIME_FIELDS))
    assert refusal is None or (refusal.name, refusal.violations[0].field) == ("FIELD_INVALID", "order_by")

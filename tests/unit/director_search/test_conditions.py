"""What filters find: the same on both engines as in plain Python."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from sqlalchemy import Connection

from director.search.conditions import resolve
from director.search.fields import Searchable
from director.search.filters import parse
from director.search.query import Query
from director.times import to_timestamp
from tests.unit.director.refused import refused
from tests.unit.director_search.rows import RUNTIME_FIELDS, RUNTIMES, Row, Rows, runtime

Predicate = Callable[[Row], bool]
Clause = tuple[str, Predicate]
"""A piece of a filter, and what it means."""


def query(text: str) -> Query:
    filter = parse(text)
    return Query() if filter is None else Query(*resolve(filter, RUNTIME_FIELDS))


def found(tx: Connection, text: str) -> list[str]:
    asked = query(text)
    names = [row["name"] for row in RUNTIMES.page(tx, asked, None, 1000)]
    assert RUNTIMES.total(tx, asked) == len(names)
    return names


# The letters are few, so that much is found, and those that the engines treat differently if they are let.
LETTERS = "abAB%_*\\.- 'é É√"
TEXTS = st.text(LETTERS, max_size=4)
NUMBERS = st.sampled_from([-(2**63), -1, 0, 1, 2, 2**40, 2**63 - 1])
MICROS = st.sampled_from([0, 1, 1_000_000, 1_767_225_600_000_000, 1_767_225_600_000_001])
KEYS = st.sampled_from(["env", "team", "a.b/c", "E"])

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "description": TEXTS,
            "state": st.integers(1, 3),
            "status_revision": st.none() | NUMBERS,
            "create_time": MICROS,
            "last_seen_time": st.none() | MICROS,
            "labels": st.dictionaries(KEYS, TEXTS, max_size=3),
        }
    ),
    min_size=1,
    max_size=6,
).map(lambda all: [runtime(f"{'aAbB_%'[number]}{number}", **values) for number, values in enumerate(all)])


def quoted(text: str) -> str:
    return '"' + "".join(f"\\{letter}" if letter in '"\\*' else letter for letter in text) + '"'


def folded(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def text_equals(written: str, start: bool, end: bool) -> tuple[str, Callable[[str], bool]]:
    """The value `written`, with a `*` before or behind it, and what equals it."""
    value = quoted(written)
    if start:
        value = f'"*{value[1:]}'
    if end:
        value = f'{value[:-1]}*"'
    test = {
        (False, False): lambda text: text == written,
        (False, True): lambda text: text.startswith(written),
        (True, False): lambda text: text.endswith(written),
        (True, True): lambda text: written in text,
    }[start, end]
    return value, test


ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
EQUALITY = st.builds(text_equals, TEXTS, st.booleans(), st.booleans())


def text_clause(field: str, read: Callable[[Row], str | None]) -> st.SearchStrategy[Clause]:
    """Comparisons of a text that may be missing."""

    def equal(value: tuple[str, Callable[[str], bool]], negated: bool) -> Clause:
        text, test = value

        def holds(row: Row) -> bool:
            found = read(row)
            return (found is not None and test(found)) != negated

        return f"{field} {'!=' if negated else '='} {text}", holds

    def compare(comparator: str, value: str) -> Clause:
        def holds(row: Row) -> bool:
            found = read(row)
            return found is not None and ORDERED[comparator](found.encode(), value.encode())

        return f"{field} {comparator} {quoted(value)}", holds

    return st.builds(equal, EQUALITY, st.booleans()) | st.builds(compare, st.sampled_from([*ORDERED]), TEXTS)


def label_clause(key: str) -> st.SearchStrategy[Clause]:
    def has(value: tuple[str, Callable[[str], bool]]) -> Clause:
        text, test = value
        if text in ('"*"', '"**"'):
            return f"labels.{key}:*", lambda row: key in row["labels"]
        return f"labels.{key}:{text}", lambda row: key in row["labels"] and test(row["labels"][key])

    return st.one_of(
        st.just((f"labels:{key}", lambda row: key in row["labels"])),
        st.builds(has, EQUALITY),
        text_clause(f"labels.{key}", lambda row: row["labels"].get(key)),
    )


def number_clause(field: str, column: str, is_unset_zero: bool, show: Callable[[int], str]) -> Any:
    def build(comparator: str, value: int) -> Clause:
        def holds(row: Row) -> bool:
            found = row[column]
            if comparator in ("=", ":", "!="):
                equal = found == value or (is_unset_zero and not found and not value)
                return bool(equal) != (comparator == "!=")
            return found is not None and ORDERED[comparator](found, value)

        return f"{field} {comparator} {show(value)}", holds

    values = NUMBERS if is_unset_zero else MICROS
    return st.builds(build, st.sampled_from(["=", "!=", ":", *ORDERED]), values)


def state_clause(state: int, comparator: str, short: bool) -> Clause:
    name = RuntimeState.Name(RuntimeState.ValueType(state))
    written = name.removeprefix("RUNTIME_STATE_") if short else name
    return f"state {comparator} {written}", lambda row: (row["state"] == state) != (comparator == "!=")


def has_clause(field: str, value: str) -> Clause:
    return f"{field}:{quoted(value)}", lambda row: folded(value) in folded(row[field])


def word_clause(value: str) -> Clause:
    return quoted(value), lambda row: any(folded(value) in folded(row[field]) for field in ("name", "description"))


def time(micros: int) -> str:
    text: str = to_timestamp(micros).ToJsonString()
    return text


RESTRICTIONS: st.SearchStrategy[Clause] = st.one_of(
    text_clause("name", lambda row: row["name"]),
    text_clause("description", lambda row: row["description"]),
    KEYS.flatmap(label_clause),
    number_clause("status.revision", "status_revision", True, str),
    number_clause("create_time", "create_time", False, time),
    number_clause("last_seen_time", "last_seen_time", False, time),
    st.builds(state_clause, st.integers(1, 3), st.sampled_from(["=", "!=", ":"]), st.booleans()),
    st.builds(has_clause, st.sampled_from(["name", "description"]), TEXTS),
    st.builds(word_clause, TEXTS),
    st.just(("labels:*", lambda row: bool(row["labels"]))),
    st.just(("last_seen_time:*", lambda row: row["last_seen_time"] is not None)),
    st.just(("status.revision:*", lambda row: bool(row["status_revision"]))),
    st.just(("description:*", lambda row: bool(row["description"]))),
)


def joined(by: str, all_or_any: Callable[[Any], bool]) -> Callable[[Sequence[Clause]], Clause]:
    def join(clauses: Sequence[Clause]) -> Clause:
        return by.join(text for text, _ in clauses), lambda row: all_or_any(holds(row) for _, holds in clauses)

    return join


def negated(clause: Clause, sign: str) -> Clause:
    text, holds = clause
    return (f"{sign}{text}", lambda row: not holds(row)) if sign else clause


def expression(simple: st.SearchStrategy[Clause]) -> st.SearchStrategy[Clause]:
    """The grammar, from the inside to the outside."""
    term = st.builds(negated, simple, st.sampled_from(["", "", "NOT ", "-"]))
    factor = st.lists(term, min_size=1, max_size=3).map(joined(" OR ", any))
    sequence = st.lists(factor, min_size=1, max_size=2).map(joined(" ", all))
    return st.lists(sequence, min_size=1, max_size=2).map(joined(" AND ", all))


FILTERS = expression(RESTRICTIONS | expression(RESTRICTIONS).map(lambda clause: (f"({clause[0]})", clause[1]))).filter(
    lambda clause: len(clause[0]) < 4096
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(all=ROWS, clause=FILTERS)
def test_a_filter_finds_what_python_finds(rows: Rows, all: Sequence[Row], clause: Clause) -> None:
    text, holds = clause
    with rows.holding(all) as tx:
        assert found(tx, text) == sorted(row["name"] for row in all if holds(row))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["a-1", "b-2", "c-3"]),
        ("ready", ["b-2"]),
        ("-ready", ["a-1", "c-3"]),
        ("100%", ["a-1"]),
        ("100_", []),
        ("É", ["c-3"]),
        ("é", []),
        ("name = A-1", []),
        ("name = a*", ["a-1"]),
        ("name = *2", ["b-2"]),
        ("name:B", ["b-2"]),
        ("state = (READY OR RUNTIME_STATE_FAILED)", ["b-2", "c-3"]),
        ("state != READY", ["a-1", "c-3"]),
        ("labels.env = prod", ["b-2"]),
        ("labels.env != prod", ["a-1", "c-3"]),
        ("labels.env:* labels.env != prod", ["c-3"]),
        ("NOT labels:env", ["a-1"]),
        ("labels.example.com/team = core", ["c-3"]),
        ("last_seen_time < 2100-01-01T00:00:00Z", ["b-2"]),
        ("NOT last_seen_time:*", ["a-1", "c-3"]),
        ("create_time = 1970-01-01T01:00:00.000001+01:00", ["b-2"]),
        ("status.revision = 0", ["a-1", "c-3"]),
    ],
)
def test_a_filter_finds(rows: Rows, text: str, names: list[str]) -> None:
    held = [
        runtime("a-1", description="100% done"),
        runtime(
            "b-2",
            description="Ready",
            state=2,
            labels={"env": "prod"},
            last_seen_time=5,
            create_time=1,
            status_revision=7,
        ),
        runtime("c-3", description="École", state=3, labels={"env": "test", "example.com/team": "core"}),
    ]
    with rows.holding(held) as tx:
        assert found(tx, text) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nme = x", "there is no field nme to filter by; there are name, description"),
        ("status = x", "there is no field status "),
        ("state = READ", "expected one of UNSPECIFIED, PENDING, READY, FAILED, STALE, not READ"),
        ("state = ready", "expected one of"),
        ("state > READY", "state has no order"),
        ("state = R*", "a * stands for any text only where texts are compared by = or !="),
        ("name < a*", "a * stands for"),
        ("status.revision = x", "expected a whole number of 64 bits, not x"),
        ("status.revision = 1.5", "expected a whole number"),
        ("status.revision = 9223372036854775808", "expected a whole number"),
        (f"status.revision = {'9' * 4000}", "expected a whole number"),
        ("create_time > 2026-01-31", "expected a time such as"),
        ("create_time > 2026-02-31T00:00:00Z", "expected a time such as"),
        ("create_time > 0000-01-01T00:00:00Z", "expected a time such as"),
        ('create_time > "2026-01-31T00:00:00"', "expected a time such as"),
        ("create_time > 2026-01-31T00:00:00+24:00", "expected a time such as"),
        ("labels = x", "labels is a map"),
        ("labels:en*", "a * stands for"),
    ],
)
def test_what_cannot_be_searched_is_refused(text: str, said: str) -> None:
    with refused("FILTER_INVALID", "filter") as caught:
        query(text)
    assert said in caught.message


def test_a_boolean_is_true_or_false() -> None:
    searchable = Searchable(Api.DESCRIPTOR, fields=("version.deprecated", "name", "description"), sortable=())
    for text in ("version.deprecated = true", "version.deprecated:false", "version.deprecated != true"):
        filter = parse(text)
        assert filter is not None
        resolve(filter, searchable)
    filter = parse("version.deprecated = 1")
    assert filter is not None
    with refused("FILTER_INVALID", "filter"):
        resolve(filter, searchable)

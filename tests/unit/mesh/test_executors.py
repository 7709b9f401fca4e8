"""Which executors are alive: those that said so of late, by the clock of their database."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, func, update

from mesh.durable import store
from tests.support.postgresql import PostgresqlServer

SILENCE = timedelta(minutes=1)


@pytest.fixture
def engine(postgresql: PostgresqlServer) -> Iterator[Engine]:
    name = postgresql.create_database()
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(postgresql.url(name)).set(drivername="postgresql+psycopg"))
    with engine.begin() as tx:
        store.create(tx)
    yield engine
    engine.dispose()
    postgresql.drop_database(name)


def unheard_for(tx: Connection, executor_id: str, silence: timedelta) -> None:
    is_it = store.executors.c.executor_id == executor_id
    tx.execute(update(store.executors).where(is_it).values(seen_time=func.now() - silence))


def in_turn(engine: Engine, *units: Callable[[Connection], object]) -> None:
    for unit in units:
        with engine.begin() as tx:
            unit(tx)


def gone(engine: Engine, silence: timedelta | None = SILENCE) -> list[str]:
    with engine.begin() as tx:
        return store.gone(tx, silence)


def test_one_that_is_silent_for_too_long_is_gone_and_comes_back_with_its_next_word(engine: Engine) -> None:
    in_turn(
        engine,
        lambda tx: store.beat(tx, "one", "life"),
        lambda tx: store.beat(tx, "two", "life"),
        lambda tx: unheard_for(tx, "two", 2 * SILENCE),
    )
    assert gone(engine) == ["two"]
    in_turn(engine, lambda tx: store.beat(tx, "two", "life"))
    assert gone(engine) == []


def test_one_that_departed_is_gone_for_whoever_has_no_patience_yet_with_the_silent(engine: Engine) -> None:
    in_turn(
        engine,
        lambda tx: store.beat(tx, "one", "life"),
        lambda tx: store.depart(tx, "one", "life"),
        lambda tx: store.beat(tx, "two", "life"),
        lambda tx: unheard_for(tx, "two", 2 * SILENCE),
    )
    assert gone(engine, None) == ["one"]
    assert gone(engine) == ["one", "two"]


def test_one_whose_next_life_has_begun_does_not_depart_with_the_one_before(engine: Engine) -> None:
    in_turn(
        engine,
        lambda tx: store.beat(tx, "one", "first"),
        lambda tx: store.beat(tx, "one", "second"),
        lambda tx: store.depart(tx, "one", "first"),
    )
    assert gone(engine) == []


def test_two_processes_that_say_to_be_one_executor_hear_of_each_other(engine: Engine) -> None:
    heard: list[bool] = []
    in_turn(engine, *(lambda tx, each=each: heard.append(store.beat(tx, "one", each)) for each in "aabab"))
    assert heard == [False, False, True, True, True]


def test_those_that_were_silent_for_very_long_are_forgotten(engine: Engine) -> None:
    in_turn(
        engine,
        lambda tx: store.beat(tx, "one", "life"),
        lambda tx: store.beat(tx, "two", "life"),
        lambda tx: unheard_for(tx, "two", 2 * SILENCE),
        lambda tx: store.forget(tx, SILENCE),
        lambda tx: unheard_for(tx, "one", 2 * SILENCE),
    )
    assert gone(engine) == ["one"]

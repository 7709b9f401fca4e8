"""Streaming, under all that can happen, at random: no reader sees a revision twice, torn or backwards."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.director_registry.process import DirectorProcess
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer
from tests.support.stream_walk import Walk, World

STEPS = 15
"""Things that happen in a round, at most."""

TOLD_EVERY = 25
"""Rounds after which whoever waits is told how far it is."""

Tell = Callable[[str], None]


@pytest.fixture
def one_director(tmp_path: Path) -> Iterator[World]:
    """A walk at one Director, on SQLite."""
    process = DirectorProcess(tmp_path)
    yield from _running(World(tmp_path, [process], process.settings["database"]))


@pytest.fixture
def two_directors(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[World]:
    """A walk at two Directors, on one PostgreSQL."""
    directors = Directors(tmp_path, postgresql)
    for each in directors.processes:
        each.mint = directors.mint
    yield from _running(World(tmp_path, directors.processes, directors.database))


def _running(world: World) -> Iterator[World]:
    try:
        world.run(world.start())
        yield world
    finally:
        world.run(world.close())
        world.loop.close()


def _walk(world: World, rounds: int, kills_every: int, tell: Tell | None = None) -> None:
    world.kills_every = kills_every

    def begin() -> Walk:
        if tell is not None and world.rounds % TOLD_EVERY == 0:
            happened = f"{world.kills} kills, {world.compactions} compactions, {world.messages} messages"
            tell(f"round {world.rounds} of {rounds}: {happened}")
        return Walk(world)

    how = settings(
        max_examples=rounds,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(begin, settings=how)  # type: ignore[arg-type]  # all that is done with it is to call it
    assert world.rounds >= rounds


@pytest.mark.timeout(120)
@pytest.mark.check("stream-03", "stream-05", "stream-06", "stream-07", "stream-19")
def test_no_reader_sees_a_revision_twice_torn_or_backwards_and_each_ends_with_its_view(one_director: World) -> None:
    _walk(one_director, 12, kills_every=10)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.check("stream-03", "stream-05", "stream-06", "stream-07", "stream-19")
def test_the_same_holds_for_five_hundred_rounds(one_director: World, told: Tell) -> None:
    _walk(one_director, 500, 25, told)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.check("stream-03", "stream-05", "stream-06", "stream-07", "stream-18", "stream-19")
def test_the_same_holds_for_five_hundred_rounds_at_two_directors(two_directors: World, told: Tell) -> None:
    _walk(two_directors, 500, 25, told)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Tells whoever waits for a long walk how far it is."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)

    return tell

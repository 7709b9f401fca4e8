"""However large a registry is, little of it is in memory at a time."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from director.store import tables
from director.transfer.exporting import export
from mesh.database.whole import open_whole, whole
from tests.unit.director.plane import Plane
from tests.unit.director_transfer.moving import imported, silently

FEW, MANY = 2_000, 10_000
SIZE = 256 * 1024


def fill(plane: Plane, begin: int, end: int) -> None:
    fixed = {"position": 0, "time": 0, "actor": "a" * 100, "request_id": "r", "action": "UPDATE", "kind": "APPLICATION"}
    with plane.transaction() as tx:
        tx.execute(insert(tables.changes), [{**fixed, "revision": n, "resource_id": "i"} for n in range(begin, end)])


def fill_with_documents(plane: Plane, begin: int, end: int) -> None:
    fixed = {"format": 1, "content": b"c" * SIZE, "size_bytes": SIZE, "state": 1, "problems": "[]"}
    with plane.transaction() as tx:
        for number in range(begin, end):
            tx.execute(insert(tables.specifications).values(sha256=f"{number:064}", **fixed))


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def export_to(path: Path, url: str) -> None:
    with path.open("wb") as file, whole(open_whole(url, writes=False)) as tx:
        export(tx, file.write, silently)


@pytest.mark.parametrize(("fill", "few", "many"), [(fill, FEW, MANY), (fill_with_documents, 40, 160)])
def test_several_times_as_many_rows_take_no_more_memory(
    plane: Plane, director_url: str, elsewhere: Callable[[], str], tmp_path: Path, fill: Any, few: int, many: int
) -> None:
    export_to(tmp_path / "warm", director_url)
    fill(plane, 1, few)
    of_few = peak(lambda: export_to(tmp_path / "few", director_url))
    fill(plane, few, many)
    assert peak(lambda: export_to(tmp_path / "many", director_url)) < 1.5 * of_few

    def take(name: str) -> int:
        target = elsewhere()
        with (tmp_path / name).open("rb") as file:
            return peak(lambda: imported(target, file))

    take("warm")
    of_few = take("few")
    assert take("many") < 1.5 * of_few


@pytest.mark.parametrize("engine_name", ["postgresql"], indirect=True)
def test_the_server_keeps_the_rows_that_are_not_asked_for_yet(plane: Plane, director_url: str) -> None:
    fill(plane, 1, 1_000)
    cursors: list[int] = []
    with whole(open_whole(director_url, writes=False)) as tx:

        def look(line: bytes) -> None:
            if line.startswith(b'["changes"'):
                cursors.append(tx.execute(text("SELECT count(*) FROM pg_cursors WHERE NOT is_holdable")).scalar_one())

        export(tx, look, silently)
    assert cursors[0] == 1

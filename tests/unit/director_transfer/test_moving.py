"""What is imported is what was exported, from either engine to either."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import run_state_machine_as_test
from moorage.director.v1.group_pb2 import AddGroupMembersRequest
from sqlalchemy import delete, insert

from director import group_members
from director.store import fetches, notices, tables
from director.store.transfer import TABLES
from director.transfer.exporting import NothingToExport, export
from director.transfer.importing import NotEmpty
from director.transfer.outcome import tell_now_and_then
from mesh.database.whole import open_whole, whole
from tests.unit.director.plane import Plane
from tests.unit.director.test_registry_model import Walk
from tests.unit.director_transfer.any_rows import Registry, registries
from tests.unit.director_transfer.moving import (
    exported,
    imported,
    path_of,
    prepared,
    rows_of,
    silently,
    start_first,
)

EXAMPLES = 6
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


class Moved(Walk):
    """Random requests to a registry, which is then moved."""

    elsewhere: ClassVar[Callable[[], str]]
    url: ClassVar[str]

    def check(self) -> None:
        """It is what becomes of all of it that is looked at."""

    def teardown(self) -> None:
        assert_moves(self.url, type(self).elsewhere())


def assert_moves(source: str, target: str) -> None:
    before = exported(source)
    done = imported(target, before.file)
    after = exported(target)
    assert after.file == before.file
    assert done == before.done == after.done
    assert rows_of(target) == rows_of(source)


def test_a_registry_that_was_worked_with_is_the_same_elsewhere(
    plane: Plane, director_url: str, elsewhere: Callable[[], str]
) -> None:
    walk = type("Moved", (Moved,), {"plane": plane, "url": director_url, "elsewhere": staticmethod(elsewhere)})
    few = settings(max_examples=EXAMPLES, stateful_step_count=15, deadline=None, suppress_health_check=QUIET)
    run_state_machine_as_test(walk, settings=few)


@given(registry=registries())
@settings(max_examples=EXAMPLES * 2, deadline=None, suppress_health_check=QUIET)
def test_any_values_that_the_tables_take_are_the_same_elsewhere(
    plane: Plane, director_url: str, elsewhere: Callable[[], str], registry: Registry
) -> None:
    with plane.transaction() as tx:
        for table in reversed(TABLES.values()):
            tx.execute(delete(table))
        for name, rows in registry.items():
            if rows:
                tx.execute(insert(TABLES[name]), rows)
    target = elsewhere()
    assert_moves(director_url, target)
    stored = rows_of(target)
    assert {name: len(rows) for name, rows in stored.items()} == {name: len(rows) for name, rows in registry.items()}
    for name, rows in registry.items():
        assert all(row in stored[name] for row in rows)


def test_numbered_rows_go_on_after_those_that_were_imported(plane: Plane, director_url: str, target: str) -> None:
    group = plane.group("", [plane.application().application_id for _ in range(3)], [plane.runtime().runtime_id])
    imported(target, exported(director_url).file)
    moved = Plane(target)
    ids = [moved.application("another").application_id]
    moved.change(group_members.add_group_members, AddGroupMembersRequest(group_id=group.group_id, application_ids=ids))
    numbers = {row["application_id"]: row["id"] for row in moved.rows(tables.group_applications)}
    moved.close()
    assert numbers.pop(ids[0]) == max(numbers.values()) + 1


def test_the_next_change_takes_the_next_revision(plane: Plane, director_url: str, target: str) -> None:
    plane.application()
    imported(target, exported(director_url).file)
    moved = Plane(target)
    moved.application("another")
    assert moved.revision == plane.revision + 1
    moved.close()


def test_what_waits_to_be_delivered_and_fetched_waits_elsewhere(plane: Plane, director_url: str, target: str) -> None:
    application_id = plane.application().application_id
    api_id = plane.api(application_id).api_id
    plane.add_webhook(application_id)
    plane.make_ready(plane.runtime(group_ids=[plane.group("", [application_id]).group_id]).runtime_id)
    plane.group("", [application_id], [plane.runtime().runtime_id])
    asked = {"offer_id": api_id, "fetch_id": api_id, "application_id": application_id, "url": "https://docs.test"}
    with plane.transaction() as tx:
        fetches.ask(tx, {**asked, "format": 1, "state": 1, "create_time": 1, "attempts": 2})
        waiting = notices.waiting(tx, most=9), fetches.waiting(tx, most=9)
    assert all(waiting)
    imported(target, exported(director_url).file)
    with whole(open_whole(target, writes=False)) as tx:
        assert (notices.waiting(tx, most=9), fetches.waiting(tx, most=9)) == waiting


def test_an_export_is_of_one_moment_while_the_registry_changes(plane: Plane, director_url: str) -> None:
    plane.group("", [plane.application().application_id], [plane.runtime().runtime_id])
    before = exported(director_url)
    lines: list[bytes] = []

    def change_and_keep(line: bytes) -> None:
        if len(lines) % 4 == 0:
            plane.group("", [plane.application().application_id], [plane.runtime().runtime_id])
        lines.append(line)

    with whole(open_whole(director_url, writes=False)) as tx:
        export(tx, change_and_keep, silently)
    assert b"".join(lines) == before.file
    assert plane.revision > before.done.revision


def test_an_export_says_how_many_rows_of_which_table_and_their_hash(plane: Plane, director_url: str) -> None:
    plane.application()
    done = exported(director_url).done
    assert {name: count for name, count in done.tables.items() if count} == {
        "applications": 1,
        "changes": 1,
        "plane": 1,
    }
    assert (done.rows, done.revision) == (3, 1)
    assert len(bytes.fromhex(done.sha256)) == 32


def test_a_database_without_a_plane_is_not_exported(target: str) -> None:
    with pytest.raises(NothingToExport):
        exported(target)


def test_what_a_first_start_made_gives_way(plane: Plane, director_url: str, target: str) -> None:
    plane.application()
    do(target, start_first)
    assert_moves(director_url, target)
    assert exported(target).done.sealing_keys == []


def mutate(url: str) -> None:
    other = Plane(url)
    other.application()
    other.close()


def mutate_and_undo(url: str) -> None:
    mutate(url)
    with whole(open_whole(url, writes=True)) as tx:
        for table in (tables.applications, tables.changes):
            tx.execute(delete(table))


def answer(url: str) -> None:
    reply = {"caller": "a", "method": "m", "request_id": "r", "request_sha256": b"", "response": b""}
    do(url, lambda tx: tx.execute(insert(tables.replies).values(**reply, create_time=1)))


def do(url: str, unit: Callable[[Any], object]) -> None:
    with whole(open_whole(url, writes=True)) as tx:
        unit(tx)


@pytest.mark.parametrize("use", [mutate, mutate_and_undo, answer])
def test_a_registry_that_was_used_is_left_as_it_is(
    plane: Plane, director_url: str, target: str, use: Callable[[str], None]
) -> None:
    plane.application()
    do(target, start_first)
    use(target)
    before = exported(target).file
    with pytest.raises(NotEmpty):
        imported(target, exported(director_url).file)
    assert exported(target).file == before


class Watched(BytesIO):
    """A file that calls before each of its lines."""

    def __init__(self, content: bytes, before_line: Callable[[], None]) -> None:
        super().__init__(content)
        self._before_line = before_line

    def readline(self, size: int | None = -1, /) -> bytes:
        self._before_line()
        return super().readline(size)


def assert_locked(url: str) -> None:
    if url.startswith("sqlite"):
        other = sqlite3.connect(path_of(url), timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
        return
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.LockNotAvailable):
        connection.execute("LOCK TABLE plane IN ROW SHARE MODE NOWAIT")  # as SELECT FOR UPDATE does


def test_no_director_changes_anything_during_an_import(target: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = prepared(f"sqlite:///{tmp_path_factory.mktemp('source')}/source.sqlite")
    mutate(source)
    do(target, start_first)
    calls: Iterator[Callable[[str], None]] = iter([lambda _: None, *[assert_locked] * 9])  # the header comes before
    file = Watched(exported(source).file, lambda: next(calls)(target))
    imported(target, file)
    assert exported(target).file == exported(source).file


def test_every_line_is_json_and_begins_with_what_it_is(plane: Plane, director_url: str) -> None:
    plane.application(description='of "two"\nlines\u2028')
    header, *rows, footer = (json.loads(line) for line in exported(director_url).lines)
    assert (header["format"], header["version"], header["revision"]) == ("moorage-director-export", 1, 1)
    assert [name for name, _ in rows] == ["applications", "changes", "plane"]
    assert rows[0][1]["description"] == 'of "two"\nlines\u2028'
    assert footer["rows"]["applications"] == 1


def test_how_far_it_has_come_is_told_by_the_number_of_rows() -> None:
    told: list[str] = []
    for rows in range(1, 20_002):
        tell_now_and_then(told.append, rows, "changes")
    assert told == ["10000 rows, at changes", "20000 rows, at changes"]

"""Rows to search, in the Director's own tables, on a connection that keeps nothing of them."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from moorage.director.v1.runtime_pb2 import Runtime
from sqlalchemy import Connection, insert, select

from director.search.fields import Searchable
from director.store.search import Search
from director.store.tables import metadata, plane, runtime_labels, runtimes
from mesh.database import Database
from mesh.errors import Refusal
from mesh.migration import prepare

Row = Mapping[str, Any]

RUNTIME_FIELDS = Searchable(
    Runtime.DESCRIPTOR,
    fields=("name", "description", "labels", "state", "status.revision", "create_time", "last_seen_time"),
    sortable=("name", "description", "state", "create_time"),
)
RUNTIMES = Search(select(runtimes), runtimes.c.runtime_id, [runtimes.c.name], runtime_labels)


class Rows:
    """The tables of a Director, and runtimes in them for as long as `holding` them."""

    def __init__(self, url: str) -> None:
        self._database = Database.open(url)
        prepare(self._database.engine, metadata, "director")

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def holding(self, rows: Sequence[Row]) -> Iterator[Connection]:
        with self._database.engine.connect() as tx, tx.begin() as transaction:
            tx.execute(insert(plane).values(id=1, plane_id="", revision=1, horizon=0, runtimes=len(rows)))
            add(tx, rows)
            yield tx
            transaction.rollback()


def runtime(name: str, **values: Any) -> Row:
    """A row, with its labels as a mapping."""
    return {
        "runtime_id": str(uuid.uuid4()),
        "name": name,
        "description": "",
        "state": 1,
        "status_revision": None,
        "create_time": 0,
        "last_seen_time": None,
        "labels": {},
        **values,
    }


def add(tx: Connection, rows: Sequence[Row]) -> None:
    for row in rows:
        tx.execute(insert(runtimes), {**row, "labels": "{}", "event_url": "", "update_time": 0, "revision": 1})
        for key, value in row["labels"].items():
            tx.execute(insert(runtime_labels), {"runtime_id": row["runtime_id"], "key": key, "value": value})


def refusal_of(call: Callable[[], object]) -> Refusal | None:
    """How `call` is refused, if it is; it must not fail in any other way."""
    try:
        call()
    except Refusal as refusal:
        return refusal
    return None

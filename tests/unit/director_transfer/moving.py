"""Exports and imports, with the file in memory."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import sqlalchemy
from sqlalchemy import select

from director.store import Transaction
from director.store.changes import create_plane
from director.store.tables import data_keys, metadata
from director.store.transfer import TABLES
from director.transfer.exporting import export
from director.transfer.importing import import_into
from director.transfer.outcome import Transfer
from director.transfer.reading import Reader
from mesh.database import Database
from mesh.database.whole import open_whole, whole
from mesh.migration import prepare

OF_A_FIRST_START = "00000000-0000-4000-8000-000000000001"


class Exported(NamedTuple):
    """What was written, and what was told of it."""

    file: bytes
    done: Transfer

    @property
    def lines(self) -> list[bytes]:
        return self.file.splitlines(keepends=True)


def exported(url: str) -> Exported:
    file = BytesIO()
    with whole(open_whole(url, writes=False)) as tx:
        done = export(tx, file.write, silently)
    return Exported(file.getvalue(), done)


def imported(url: str, file: bytes | BinaryIO, tell: Callable[[str], None] = lambda _: None) -> Transfer:
    """Fill a database that `prepared` made."""
    reader = Reader(BytesIO(file) if isinstance(file, bytes) else file)
    with whole(open_whole(url, writes=True)) as tx:
        return import_into(tx, reader, tell)


def silently(line: str) -> None:
    """Tell nobody."""


def prepared(url: str) -> str:
    """The URL of a database, which has the tables from now on."""
    database = Database.open(url)
    prepare(database.engine, metadata, "director")
    database.close()
    return url


def start_first(tx: Transaction) -> None:
    """Do what a Director does at its first start."""
    create_plane(tx, OF_A_FIRST_START)
    key = {"key_id": "first", "wrapped": b"wrapped", "provider_key_id": "file:first", "state": "ACTIVE"}
    tx.execute(data_keys.insert().values(**key, create_time=1))


def rows_of(url: str) -> dict[str, list[dict[str, Any]]]:
    """All that a registry holds, by its tables."""
    with whole(open_whole(url, writes=False)) as tx:
        return {name: _sorted(tx, table) for name, table in TABLES.items()}


def _sorted(tx: Transaction, table: sqlalchemy.Table) -> list[dict[str, Any]]:
    rows = [dict(row) for row in tx.execute(select(table)).mappings()]
    return sorted(rows, key=lambda row: [row[column.name] for column in table.primary_key])


def path_of(url: str) -> Path:
    """The file of a database on SQLite."""
    return Path(str(sqlalchemy.make_url(url).database))

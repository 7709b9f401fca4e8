"""A registry to the lines of a file, row by row: however large it is, little of it is in memory."""

import hashlib
from collections.abc import Callable

from director.store import Transaction
from director.store.transfer import TABLES, find_plane, read_rows, sealed_under
from director.transfer.lines import Footer, Header, encoded, encoded_row
from director.transfer.outcome import Tell, Transfer, tell_now_and_then


class NothingToExport(Exception):
    """No Director has ever begun a plane in the database."""


def export(tx: Transaction, write: Callable[[bytes], object], tell: Tell) -> Transfer:
    """Give `write` line after line of the registry as it is in the snapshot of `tx`. Raises `NothingToExport`."""
    plane = find_plane(tx)
    if plane is None:
        raise NothingToExport
    digest = hashlib.sha256()

    def put(line: bytes) -> None:
        digest.update(line)
        write(line)

    put(encoded(Header.of(plane.plane_id, plane.revision)))
    tables: dict[str, int] = {}
    rows = 0
    for name, table in TABLES.items():
        before = rows
        for row in read_rows(tx, table):
            put(encoded_row(name, row))
            rows += 1
            tell_now_and_then(tell, rows, name)
        tables[name] = rows - before
    write(encoded(Footer(tables, digest.hexdigest())))
    return Transfer(plane.plane_id, plane.revision, rows, tables, digest.hexdigest(), sealed_under(tx))

"""The lines of a file into an empty registry: in one transaction, in batches, and all of them or none."""

from collections.abc import Iterator

from director.store import Transaction
from director.store import transfer as store
from director.transfer.outcome import Tell, Transfer, tell_now_and_then
from director.transfer.reading import FileRefused, Reader, Row

_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024


class NotEmpty(Exception):
    """The registry has had a life of its own."""


def import_into(tx: Transaction, reader: Reader, tell: Tell) -> Transfer:
    """Have the registry be what the file says.

    Raises `NotEmpty` and `FileRefused`, with which the transaction is to be rolled back.
    """
    store.hold(tx)
    if not store.is_empty(tx):
        raise NotEmpty
    store.clear(tx)
    rows = 0
    for batch in _batches(reader.rows()):
        first, last = batch[0], batch[-1]
        try:
            store.add_rows(tx, store.TABLES[first.table], [row.values for row in batch])
        except store.RowsRefused as refused:
            lines = f"line {first.line}" if first is last else f"lines {first.line} to {last.line}"
            raise FileRefused(lines, f"the database does not take rows of {first.table}: {refused}") from refused
        for _ in batch:
            rows += 1
            tell_now_and_then(tell, rows, first.table)
    _check_plane(tx, reader)
    store.number_on(tx)
    header = reader.header
    return Transfer(header.plane_id, header.revision, rows, reader.counts, reader.sha256, store.sealed_under(tx))


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows of one table each, so many that they are written quickly, and so few that they take little memory."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and (row.table != batch[0].table or len(batch) == _BATCH_ROWS or size >= _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size
    if batch:
        yield batch


def _check_plane(tx: Transaction, reader: Reader) -> None:
    plane = store.find_plane(tx)
    header = reader.header
    if plane is None or (plane.plane_id, plane.revision) != (header.plane_id, header.revision):
        raise FileRefused("line 1", "the header names another plane, or another revision, than the rows")

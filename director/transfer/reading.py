"""The lines of an exported registry, each looked at before it is believed.

The file may be cut off, altered, or none at all; what is wrong with it raises `FileRefused`, which names the line.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from msgspec import Raw

from director.transfer.lines import MOST_BYTES, Footer, Header, LineRefused, header_of, line_of, row_of


class FileRefused(Exception):
    """The file cannot be imported; the text says which line is at fault, and why."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")


class Row(NamedTuple):
    """A row, and from which line."""

    line: int
    size: int
    table: str
    values: dict[str, Any]


class Reader:
    """Reads the header at once, and the rows as they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises `FileRefused` for a header of another kind of file."""
        self._file = file
        self._digest = hashlib.sha256()
        self._number = 0
        line = self._next()
        self._digest.update(line)
        try:
            self.header: Header = header_of(line)
        except LineRefused as refused:
            raise self._refused(str(refused)) from refused
        self.counts = dict.fromkeys(self.header.tables, 0)
        """How many rows of each table there were so far."""
        self.sha256 = ""
        """The hash of all lines before the footer, once the rows are read."""

    def rows(self) -> Iterator[Row]:
        """All rows in their order. They end only where the footer bears them out and nothing comes after it."""
        at = 0
        while True:
            line = self._next()
            read = self._line(line)
            if isinstance(read, Footer):
                self._end(read)
                return
            name, values = read
            at = self._place(name, at)
            self._digest.update(line)
            self.counts[name] += 1
            yield Row(self._number, len(line), name, self._values(name, values))

    def _next(self) -> bytes:
        self._number += 1
        line = self._file.readline(MOST_BYTES + 1)
        if len(line) > MOST_BYTES:
            raise self._refused("it is longer than any line of an export")
        if not line.endswith(b"\n"):
            raise self._refused("the file ends here, before its footer: it is not whole")
        return line

    def _line(self, line: bytes) -> tuple[str, Raw] | Footer:
        try:
            return line_of(line)
        except LineRefused as refused:
            raise self._refused(f"neither a row nor a footer: {refused}") from refused

    def _place(self, name: str, at: int) -> int:
        """Where among the tables one stands, which must not be before `at`, that of the row before."""
        if name not in self.counts:
            raise self._refused("there is no such table")
        place = self.header.tables.index(name)
        if place < at:
            raise self._refused(f"a row of {name} after those of {self.header.tables[at]}: the order is another")
        return place

    def _values(self, name: str, values: Raw) -> dict[str, Any]:
        try:
            return row_of(name, values)
        except LineRefused as refused:
            raise self._refused(f"not a row of {name}: {refused}") from refused

    def _end(self, footer: Footer) -> None:
        self.sha256 = self._digest.hexdigest()
        if footer.rows != self.counts:
            raise self._refused("the footer counts other rows than there are")
        if footer.sha256 != self.sha256:
            raise self._refused("the lines before the footer do not have its SHA-256: the file was altered")
        if self._file.read(1):
            self._number += 1
            raise self._refused("something comes after the footer")

    def _refused(self, why: str) -> FileRefused:
        return FileRefused(f"line {self._number}", why)

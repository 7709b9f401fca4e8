"""The file that a registry is exported to: JSON, a line each for the header, every row, and the footer.

- The header says what the file is: `{"format": "moorage-director-export", "version": 1, "schema": "0002", "plane_id":
  ..., "revision": ..., "tables": [...]}`. The tables are all that the schema has, each after those that it refers to.
- A row is `["TABLE", {"COLUMN": VALUE, ...}]` with every column of its table, binary values in base64 (RFC 4648). Rows
  stand table by table in the order of the header, and within a table in the order of its primary key.
- The footer is `{"rows": {"TABLE": COUNT, ...}, "sha256": "HEX"}`; the hash is that of all lines before it.

So the same registry is the same file, whichever engine keeps it. What is secret in it is sealed, as in the database.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder, Encoder

from director.migrations import HEAD
from director.store.registry import Values
from director.store.transfer import TABLES

FORMAT = "moorage-director-export"
VERSION = 1

MOST_BYTES = 48 * 1024 * 1024
"""Of one line: a fetched document may have 16 MiB, and base64 makes a third more of it."""


class LineRefused(Exception):
    """A line is not what it has to be; the text says why."""


class _KindOfFile(Struct):
    """What the first line of any version says."""

    format: str
    version: int


class Header(Struct, forbid_unknown_fields=True):
    """The first line."""

    format: str
    version: int
    schema: str
    plane_id: str
    revision: int
    tables: list[str]

    @classmethod
    def of(cls, plane_id: str, revision: int) -> "Header":
        """That of an export by this release."""
        return cls(FORMAT, VERSION, HEAD, plane_id, revision, list(TABLES))


class Footer(Struct, forbid_unknown_fields=True):
    """The last line."""

    rows: dict[str, int]
    sha256: str


def encoded(line: Header | Footer) -> bytes:
    """A header or footer as a line."""
    return _encoder.encode(line) + b"\n"


def encoded_row(table: str, row: Values) -> bytes:
    """A row as a line."""
    return _encoder.encode((table, row)) + b"\n"


def header_of(line: bytes) -> Header:
    """What the first line says. Raises `LineRefused` for one that this release cannot import."""
    try:
        kind = _kind_of_file.decode(line)
    except (ValueError, RecursionError):
        kind = None
    if kind is None or kind.format != FORMAT:
        raise LineRefused("this is not an export of a Director")
    if kind.version != VERSION:
        raise LineRefused(f"it has version {kind.version} of the format, and this release reads {VERSION}")
    header: Header = _decoded(_header, line)
    if header.schema != HEAD:
        raise LineRefused(
            f"it was exported at version {header.schema:.40} of the schema, and this release has {HEAD}: export it with"
            " this release"
        )
    if header.tables != list(TABLES):
        raise LineRefused("it does not name the tables of its schema")
    return header


def line_of(line: bytes) -> tuple[str, Raw] | Footer:
    """What another line is: the table of a row and its values, not looked at yet, or the footer."""
    read: tuple[str, Raw] | Footer = _decoded(_line, line)
    return read


def row_of(table: str, values: Raw) -> dict[str, Any]:
    """The values of a row by the names of its table's columns. Raises `LineRefused` for any other."""
    row: dict[str, Any] = msgspec.structs.asdict(_decoded(_rows[table], values))
    return row


def _decoded(decoder: Decoder[Any], line: bytes | Raw) -> Any:
    try:
        return decoder.decode(line)
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, or of what must stand there
        raise LineRefused(f"{error!s:.200}") from error


def _shape(name: str, columns: Iterable[Any]) -> type[Struct]:
    fields = [(str(column.name), _kind(column)) for column in columns]
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True)


def _kind(column: Any) -> Any:
    kind = column.type.python_type
    if kind is int:
        kind = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    return kind | None if column.nullable else kind


_encoder = Encoder()
_kind_of_file = Decoder(_KindOfFile)
_header = Decoder(Header)
_line: Decoder[Any] = Decoder(tuple[str, Raw] | Footer)
_rows = {name: Decoder(_shape(name, table.columns)) for name, table in TABLES.items()}

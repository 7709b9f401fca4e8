"""What is not whole, or not what was exported, is refused by the line at fault, and leaves nothing behind."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from director.transfer import reading
from director.transfer.reading import FileRefused, Reader
from mesh.database.whole import open_whole, whole
from tests.unit.director.plane import Plane, openapi
from tests.unit.director_transfer.moving import exported, imported, prepared, start_first

Lines = list[bytes]
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@cache
def good() -> tuple[bytes, ...]:
    """The lines of an export: of applications, changes, plane, specifications and apis."""
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/director.sqlite"
        plane = Plane(url)
        for name in ("first", "second"):
            application_id = plane.application(name).application_id
            plane.api(application_id, document=openapi(f"openapi of {name}"))
        plane.close()
        return tuple(exported(url).lines)


@pytest.fixture
def begun(target: str) -> str:
    """A database on which a Director was started, and no more."""
    with whole(open_whole(target, writes=True)) as tx:
        start_first(tx)
    return target


def number_of(table: str, which: int = 0) -> int:
    """The number of a line of the export: that of a row of a table."""
    return [i for i, line in enumerate(good(), 1) if line.startswith(f'["{table}"'.encode())][which]


def sealed(lines: Sequence[bytes]) -> Lines:
    """These rows after the header, with a footer that is true of them."""
    counts = json.loads(good()[-1])["rows"]
    counts = dict.fromkeys(counts, 0)
    for line in lines[1:]:
        name = json.loads(line)[0]
        counts[name] = counts.get(name, 0) + 1
    sha256 = hashlib.sha256(b"".join(lines)).hexdigest()
    return [*lines, json.dumps({"rows": counts, "sha256": sha256}).encode() + b"\n"]


def with_line(number: int, line: bytes) -> Lines:
    """The export with another line there, and a footer that was made good."""
    lines = list(good())
    lines[number - 1] = line
    return lines


def with_row(table: str, change: Callable[[dict[str, Any]], object], which: int = 0) -> Lines:
    """The export with a row that was changed, and a footer that is true of it."""
    lines = list(good()[:-1])
    at = number_of(table, which) - 1
    name, row = json.loads(lines[at])
    change(row)
    lines[at] = json.dumps([name, row]).encode() + b"\n"
    return sealed(lines)


def with_header(**changed: Any) -> Lines:
    header = {**json.loads(good()[0]), **changed}
    return sealed([json.dumps(header).encode() + b"\n", *good()[1:-1]])


def refused(url: str, lines: Sequence[bytes]) -> str:
    """What is said of a file, which the database is to have nothing of."""
    before = exported(url).file
    with pytest.raises(FileRefused) as caught:
        imported(url, b"".join(lines))
    assert exported(url).file == before
    return str(caught.value)


def set_to(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda row: row.update({name: value})


FOOTER = len(good())
API, FIRST_APPLICATION = number_of("apis"), number_of("applications")

HEADERS = {
    "an empty file": ([], "the file ends here"),
    "another file": ([b'{"name": "something"}\n'], "not an export"),
    "no JSON": ([b"PK\x03\x04 and so on\n"], "not an export"),
    "no UTF-8": ([b'{"format": "\xff"}\n'], "not an export"),
    "deeply nested": ([b"[" * 200_000 + b"\n"], "not an export"),
    "another format": (with_header(format="another"), "not an export"),
    "another version": (with_header(version=2), "version 2 of the format"),
    "another schema": (with_header(schema="0000"), "version 0000 of the schema"),
    "other tables": (with_header(tables=["applications"]), "the tables of its schema"),
    "other order": (with_header(tables=sorted(json.loads(good()[0])["tables"], reverse=True)), "the tables of"),
    "more in it": (with_header(more=1), "unknown field"),
    "another revision": (with_header(revision=3), "another revision"),
    "another plane": (with_header(plane_id="another"), "another plane"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_is_not_of_such_an_export_is_refused(begun: str, case: str) -> None:
    lines, why = HEADERS[case]
    said = refused(begun, lines)
    assert said.startswith("line 1: ")
    assert why in said


LINES = {
    "no JSON": (API, with_line(API, b"garbage\n"), "neither a row nor a footer"),
    "no UTF-8": (API, with_line(API, b'["apis",{"api_id":"\xff"}]\n'), "not a row of apis"),
    "a number": (API, with_line(API, b"1\n"), "neither a row nor a footer"),
    "another object": (API, with_line(API, b'{"more": 1}\n'), "neither a row nor a footer"),
    "a third value": (API, with_line(API, b'["apis",{},1]\n'), "neither a row nor a footer"),
    "deeply nested": (API, with_line(API, b'["apis",' + b"[" * 200_000 + b"\n"), "neither a row nor a footer"),
    "an empty line": (API, with_line(API, b"\n"), "neither a row nor a footer"),
    "a header": (API, with_line(API, good()[0]), "neither a row nor a footer"),
    "no table": (API, with_line(API, b'["alembic_version",{"version_num":"0001"}]\n'), "no such table"),
    "an earlier table": (API, with_line(API, good()[FIRST_APPLICATION - 1]), "the order is another"),
    "no columns": (API, with_line(API, b'["apis",{}]\n'), "missing required field"),
    "no object": (API, with_line(API, b'["apis",[]]\n'), "Expected `object`"),
    "a column more": (API, with_row("apis", set_to("more", 1)), "unknown field `more`"),
    "a column less": (API, with_row("apis", lambda row: row.pop("name")), "missing required field `name`"),
    "another type": (API, with_row("apis", set_to("name", 1)), "$.name"),
    "a fraction": (API, with_row("apis", set_to("revision", 1.5)), "$.revision"),
    "a large number": (API, with_row("apis", set_to("revision", 2**63)), "$.revision"),
    "a null": (API, with_row("apis", set_to("name", None)), "$.name"),
    "half a surrogate pair": (API, with_row("apis", set_to("name", "\ud800")), "JSON is malformed"),
    "no base64": (
        number_of("specifications"),
        with_row("specifications", set_to("content", "%")),
        "Invalid base64",
    ),
    "a line that was altered": (FOOTER, [*with_row("apis", set_to("name", "x"))[:-1], good()[-1]], "SHA-256"),
    "a line less": (FOOTER - 1, [*good()[: API - 1], *good()[API:]], "counts other rows"),
    "a line more": (FOOTER + 1, [*good(), good()[-1]], "after the footer"),
    "a byte more": (FOOTER + 1, [*good(), b"\n"], "after the footer"),
    "no footer": (FOOTER, list(good()[:-1]), "not whole"),
    "half a footer": (FOOTER, [*good()[:-1], good()[-1][:-1]], "not whole"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_line_that_is_not_what_it_has_to_be_is_refused(begun: str, case: str) -> None:
    number, lines, why = LINES[case]
    said = refused(begun, lines)
    assert said.startswith(f"line {number}: ")
    assert why in said


ROWS = {
    "the same id twice": (
        "applications",
        with_row(
            "applications", set_to("application_id", json.loads(good()[FIRST_APPLICATION - 1])[1]["application_id"]), 1
        ),
    ),
    "the same name twice": (
        "applications",
        with_row("applications", set_to("name", json.loads(good()[FIRST_APPLICATION - 1])[1]["name"]), 1),
    ),
    "what it refers to is not there": ("apis", with_row("apis", set_to("application_id", "nobody"))),
    "a second plane": ("plane", with_row("plane", set_to("id", 2))),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_cannot_be_in_a_registry_are_refused(begun: str, case: str) -> None:
    table, lines = ROWS[case]
    said = refused(begun, lines)
    assert f"the database does not take rows of {table}" in said
    first = number_of(table)
    assert said.startswith((f"line {first}: ", f"lines {first} to "))


@pytest.mark.parametrize("other_engine_name", ["postgresql"], indirect=True)
def test_values_that_only_sqlite_takes_are_refused_without_being_told(begun: str) -> None:
    for value in ("n" * 64, "nul \0 of a secret"):
        said = refused(begun, with_row("apis", set_to("name", value)))
        assert "the database does not take rows of apis" in said
        assert value not in said
        assert "secret" not in said


def test_a_line_of_any_length_is_not_read_into_memory(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", len(good()[0]))
    asked: list[int | None] = []

    class File(BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return super().readline(size)

    reader = Reader(File(good()[0] + b"x" * 10_000))
    with pytest.raises(FileRefused, match="line 2: it is longer"):
        list(reader.rows())
    assert asked == [len(good()[0]) + 1] * 2


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that nothing is ever imported into."""
    return prepared(f"sqlite:///{tmp_path_factory.mktemp('empty')}/director.sqlite")


@given(at=st.integers(0, sum(map(len, good())) - 1), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
def test_a_file_of_which_any_bit_was_altered_is_refused(empty: str, at: int, bit: int) -> None:
    content = bytearray(b"".join(good()))
    content[at] ^= 1 << bit
    with pytest.raises(FileRefused, match=r"^lines? \d+"):
        imported(empty, bytes(content))


@given(length=st.integers(0, sum(map(len, good())) - 1))
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
def test_a_file_that_was_cut_off_anywhere_is_refused(empty: str, length: int) -> None:
    with pytest.raises(FileRefused, match="the file ends here"):
        imported(empty, b"".join(good())[:length])


def test_the_whole_file_is_taken_after_all_that_was_refused(begun: str) -> None:
    refused(begun, good()[:-1])
    imported(begun, b"".join(good()))
    assert exported(begun).lines == list(good())


def test_base64_is_that_of_the_rfc() -> None:
    content = json.loads(good()[number_of("specifications") - 1])[1]["content"]
    assert base64.b64decode(content, validate=True).startswith(b"openapi of ")

"""The document that describes an API or an Event API: as the options name it, and as it is read again."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

import click

from cli.connection import Connection
from cli.options import FILE, CommandDecorator, as_text, gathered, read_bytes
from cli.output import printable, tell
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.director.v1.specification_pb2 import Specification

Format: TypeAlias = Literal["openapi", "asyncapi", "odata-edmx", "grpc-descriptor-set"]
API_FORMATS: Sequence[Format] = ("openapi", "odata-edmx", "grpc-descriptor-set")
BINARY: Format = "grpc-descriptor-set"


@dataclass(frozen=True)
class SpecificationOptions:
    """Where a document comes from, of which there is one at most, and what it is written in where that was said."""

    spec: Path | None
    spec_url: str | None
    spec_format: Format | None = None
    no_spec: bool = False

    def __post_init__(self) -> None:
        """Raises `click.UsageError` for options that contradict one another."""
        named = self.spec is not None, self.spec_url is not None, self.no_spec
        if sum(named) > 1:
            raise click.UsageError("Give one of --spec, --spec-url and --no-spec.", click.get_current_context())
        if self.spec_format is not None and not any(named[:2]):
            raise click.UsageError("--spec-format takes --spec or --spec-url.", click.get_current_context())

    @property
    def given(self) -> bool | None:
        """True where the specification is to be set, or taken away, else None."""
        return self.spec is not None or self.spec_url is not None or self.no_spec or None

    def read(self, only: Format | None = None) -> "Specification | None":
        """The specification, its document read; `only` is its format where there is no other.

        None where none is named. Raises `Stopped` (BAD_INPUT) for a file that cannot be read, or is in no format that
        is known, `click.UsageError` for a URL that does not tell its format.
        """
        from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat

        if self.spec is not None:
            content = read_bytes(self.spec, "specification")
            format = only or self.spec_format or _of_content(content, self.spec)
            specification = (
                Specification(data=content)
                if format == BINARY
                else Specification(content=as_text(content, self.spec, "specification"))
            )
        elif self.spec_url is not None:
            format = only or self.spec_format or _of_url(self.spec_url)
            specification = Specification(url=self.spec_url)
        else:
            return None
        name = format.upper().replace("-", "_")
        specification.format = SpecificationFormat.Value(f"SPECIFICATION_FORMAT_{name}")
        return specification


def specification_options(formats: str, *more: CommandDecorator) -> CommandDecorator:
    """`--spec FILE`, also called `--file`, and `--spec-url`; `formats` says what the document may be written in."""
    return gathered(
        "spec",
        SpecificationOptions,
        click.option(
            "-f", "--spec", "--file", "spec", type=FILE, help=f"The document that describes it, {formats}; - is stdin."
        ),
        click.option("--spec-url", help="Where the Director is to fetch that document: an http or https URL."),
        *more,
    )


format_option = click.option(
    "--spec-format",
    type=click.Choice(API_FORMATS),
    help="What the document is written in.  [default: as its content, or the end of its URL, tells]",
)
no_spec_option = click.option("--no-spec", is_flag=True, help="Take its specification away.")
out_option = click.option("--out", type=click.Path(path_type=Path), help="File for the document.  [default: stdout]")


def warn_of(specification: "Specification") -> None:
    """Tell what is wrong with a document, which is stored all the same, or that it is yet to be fetched."""
    from moorage.director.v1.specification_pb2 import FETCH_STATE_PENDING, SPECIFICATION_STATE_INVALID

    if specification.state == SPECIFICATION_STATE_INVALID:
        tell(f"the specification is stored, but it is not valid: {'; '.join(specification.problems)}")
    elif specification.fetch.state == FETCH_STATE_PENDING:
        tell("the Director fetches the specification; `get` shows how that goes")


async def download(
    plane: Connection, application_id: str, specification: "Specification", what: str, out: Path | None
) -> None:
    """Write the document that `specification` names to `out` or, for None, to standard output.

    `what` says whose it is. Raises `Stopped`: NOT_FOUND where there is none, CONFLICT where it was not fetched yet.
    """
    content = await _downloaded(plane, application_id, specification, what)
    if out is not None:
        _write(content, out)
    elif _is_at_a_terminal():
        _show(content)
    else:
        click.echo(content, nl=False)


async def _downloaded(plane: Connection, application_id: str, specification: "Specification", what: str) -> bytes:
    from moorage.director.v1.specification_pb2 import DownloadSpecificationRequest

    if not specification.sha256 and specification.url:
        why = specification.fetch.failure or "it waits for its turn"
        raise Stopped(Exit.CONFLICT, f"the specification of {what} is not fetched from {specification.url} yet: {why}")
    if not specification.sha256:
        raise Stopped(Exit.NOT_FOUND, f"{what} has no specification: give it one with `update --spec FILE`")
    request = DownloadSpecificationRequest(application_id=application_id, sha256=specification.sha256)
    pieces = await plane.director.all(plane.director.stub.DownloadSpecification, request)
    content = b"".join(piece.data for piece in pieces)
    if hashlib.sha256(content).hexdigest() != specification.sha256:
        raise Stopped(Exit.UNEXPECTED, f"what came is not the specification of {what}: its SHA-256 is another")
    return content


def _write(content: bytes, out: Path) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise Stopped(Exit.BAD_INPUT, f"{out} cannot be written: {error.strerror}") from error
    tell(f"{out} has the specification: {len(content):,} bytes")


def _is_at_a_terminal() -> bool:
    return sys.stdout.isatty()


def _show(content: bytes) -> None:
    # Whoever wrote the document must not steer the terminal of whoever reads it.
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise Stopped(Exit.BAD_INPUT, "the specification is binary: name a file for it with --out") from None
    for line in lines:
        click.echo(printable(line.expandtabs()))


def _of_content(content: bytes, file: Path) -> Format:
    """What an API's document is in: of the formats one is XML, one is JSON or YAML, and one is binary."""
    if _is_descriptor_set(content):
        return BINARY
    text = as_text(content, file, "specification")
    return "odata-edmx" if text.lstrip("\ufeff \t\r\n").startswith("<") else "openapi"


def _is_descriptor_set(content: bytes) -> bool:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    if not content.startswith(b"\n"):  # tag and type of its first file
        return False
    try:
        return any(file.name for file in FileDescriptorSet.FromString(content).file)
    except DecodeError:
        return False


_ENDINGS: dict[str, Format] = {
    ".json": "openapi",
    ".yaml": "openapi",
    ".yml": "openapi",
    ".xml": "odata-edmx",
    ".edmx": "odata-edmx",
    ".binpb": BINARY,
    ".desc": BINARY,
    ".protoset": BINARY,
}


def _of_url(url: str) -> Format:
    path = PurePosixPath(urlsplit(url).path)
    format = "odata-edmx" if path.name == "$metadata" else _ENDINGS.get(path.suffix.lower())
    if format is None:
        raise click.UsageError(
            "The end of --spec-url does not tell the format: give --spec-format.", click.get_current_context()
        )
    return format

"""The document that describes an API or an Event API, as the commands read it and warn of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import FILE, CommandDecorator, read_file
from cli.output import tell

if TYPE_CHECKING:
    from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat


def spec_option(formats: str) -> CommandDecorator:
    """`--spec FILE`, also called `--file`; `formats` says what the document may be written in."""
    return click.option(
        "-f", "--spec", "--file", "spec", type=FILE, help=f"The document that describes it, {formats}; - is stdin."
    )


no_spec_option = click.option("--no-spec", is_flag=True, help="Take its specification away.")


def read_specification(file: Path | None, format: "SpecificationFormat.ValueType") -> "Specification | None":
    """The document in `file`, where one is named. Raises `Stopped` (BAD_INPUT) where it cannot be read."""
    from moorage.director.v1.specification_pb2 import Specification

    return None if file is None else Specification(format=format, content=read_file(file, "specification"))


def replaced(spec: Path | None, no_spec: bool) -> object | None:
    """Whether the specification is to change, by a new one or by none; raises `click.UsageError` for both."""
    if spec is not None and no_spec:
        raise click.UsageError("Give --spec or --no-spec, not both.", click.get_current_context())
    return spec or no_spec or None


def warn_of(specification: "Specification") -> None:
    """Tell what is wrong with a document, which is stored all the same."""
    from moorage.director.v1.specification_pb2 import SPECIFICATION_STATE_INVALID

    if specification.state == SPECIFICATION_STATE_INVALID:
        tell(f"the specification is stored, but it is not valid: {'; '.join(specification.problems)}")

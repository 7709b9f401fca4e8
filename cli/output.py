"""What a command prints: data on standard output, as a table for people or JSON for programs; the rest on stderr.

JSON is that of Protocol Buffers (ProtoJSON) with the contract's own field names. A field that the contract marks as a
secret (`debug_redact`) is never printed from a message.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

_LONGEST_CELL = 1000


class Output:
    """The one way to standard output, in the format that `-o` chose: `table` or `json`."""

    def __init__(self, format: str) -> None:
        self.is_json = format == "json"

    def one(self, message: "Message") -> None:
        """A resource: its JSON, or a line for each field that is set."""
        if self.is_json:
            self.json(as_dict(message))
        else:
            self.lines((f"{name}:", text) for name, text in _fields(message))

    def many(self, messages: Sequence["Message"], name: str, columns: Mapping[str, str]) -> None:
        """A list: JSON `{name: [...]}`, also where it is empty, or a table of `columns` (title: path of the field)."""
        if self.is_json:
            self.json({name: [as_dict(each) for each in messages]})
        else:
            self.table(columns, ([_cell(each, path) for path in columns.values()] for each in messages))

    def table(self, titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Rows under their titles. Never cut to the terminal's width: a cut id is no id."""
        self.lines([list(titles), *rows])

    def lines(self, rows: Iterable[Iterable[str]]) -> None:
        """Rows in columns that are as wide as they must be."""
        cells = [[printable(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def json(self, value: Mapping[str, Any]) -> None:
        """JSON over several lines."""
        click.echo(json.dumps(value, indent=2))

    def json_line(self, message: "Message") -> None:
        """JSON on one line, for streams."""
        click.echo(json.dumps(as_dict(message), separators=(",", ":")))


def tell(text: str) -> None:
    """What is no data: progress, warnings, what was done. One line on standard error."""
    click.echo(f"moorage: {printable(text)}", err=True)


def as_dict(message: "Message") -> dict[str, Any]:
    """ProtoJSON with the contract's field names; fields that are not set, and secrets, are left out."""
    from google.protobuf.json_format import MessageToDict

    shown: dict[str, Any] = MessageToDict(_without_secrets(message), preserving_proto_field_name=True)
    return shown


def printable(text: str) -> str:
    """The text with everything that could steer a terminal written as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def enum_name(number: int, enum: "EnumDescriptor") -> str:
    """`READY` for `RUNTIME_STATE_READY`, nothing for 0; the number for a value that this version does not know."""
    if not number:
        return ""
    value = enum.values_by_number.get(number)
    prefix = "".join(f"_{char}" if char.isupper() else char.upper() for char in enum.name).lstrip("_")
    return value.name.removeprefix(f"{prefix}_") if value else str(number)


def _without_secrets(message: "Message") -> "Message":
    copy = type(message)()
    copy.CopyFrom(message)
    for field, value in copy.ListFields():
        if field.GetOptions().debug_redact:
            copy.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else [value]:
                each.CopyFrom(_without_secrets(each))
    return copy


def _fields(message: "Message", prefix: str = "") -> Iterator[tuple[str, str]]:
    for field, value in _without_secrets(message).ListFields():
        name = f"{prefix}{field.name}"
        if field.message_type is None or field.message_type.full_name == "google.protobuf.Timestamp":
            yield name, _text(value, field)
        elif not field.is_repeated:
            yield from _fields(value, f"{name}.")
        else:
            for position, each in enumerate(value):
                yield from _fields(each, f"{name}[{position}].")


def _cell(message: "Message", path: str) -> str:
    name, _, rest = path.partition(".")
    field = cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[name])
    if field.message_type is not None and not message.HasField(name):
        return ""
    value = getattr(message, name)
    return _cell(value, rest) if rest else _text(value, field)


def _text(value: Any, field: "FieldDescriptor") -> str:
    if field.is_repeated:
        return ", ".join(_scalar(each, field) for each in value)
    return _scalar(value, field)


def _scalar(value: Any, field: "FieldDescriptor") -> str:
    if field.enum_type is not None:
        return enum_name(value, field.enum_type)
    if field.message_type is not None:
        return str(value.ToJsonString())
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if len(text) <= _LONGEST_CELL else f"({len(text):,} characters; -o json shows them)"

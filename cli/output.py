"""What a command prints: data on standard output, in a table for people, JSON or YAML for programs; the rest on stderr.

JSON and YAML are those of Protocol Buffers (ProtoJSON) with the contract's own field names. A field that the contract
marks as a secret (`debug_redact`) is never printed from a message.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import click

from cli import selector

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

FORMATS = ("table", "wide", "json", "yaml", "name")
Columns: TypeAlias = Mapping[str, str | Callable[[Any], str]]
"""Title of each column, and what its cells have: the path of a field, or what makes a text of the message."""

_NONE: Mapping[str, Any] = MappingProxyType({})
_LONGEST_CELL = 1000
# What a resource is called, so that the next command can be told of it: the first of these fields that is set, or else
# its first field.
_NAMES = ("name", "key", "access_request_id", "api_id", "bundle_id", "application_id")


class Output:
    """The one way to standard output, in the format that `-o` chose: one of `FORMATS`."""

    def __init__(self, format: str) -> None:
        self._format = format

    @property
    def is_structured(self) -> bool:
        """Whether programs read it: JSON or YAML."""
        return self._format in {"json", "yaml"}

    @property
    def is_wide(self) -> bool:
        """Whether tables have all their columns."""
        return self._format == "wide"

    @property
    def is_name(self) -> bool:
        """Whether only names are wanted."""
        return self._format == "name"

    def one(self, message: "Message") -> None:
        """A resource: its data, its name alone, or a line for each field that is set."""
        if self.is_structured:
            self.data(as_dict(message))
        elif self.is_name:
            self.lines([[_name(message)]])
        else:
            self.lines((f"{name}:", text) for name, text in _fields(message))

    def many(
        self,
        messages: Sequence["Message"],
        name: str,
        columns: Columns,
        wide: Columns = _NONE,
        more: Mapping[str, object] = _NONE,
    ) -> None:
        """A list: `{name: [...], **more}`, also where it is empty, or a table of `columns` and, if wide, of `wide`."""
        if self.is_structured:
            self.data({name: [as_dict(each) for each in messages], **more})
            return
        shown = {**columns, **wide} if self.is_wide else columns
        self.table(shown, ([_cell(each, path) for path in shown.values()] for each in messages))

    def table(self, titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Rows under their titles or, for `name`, the first cell of each that has anything in it.

        Never cut to the terminal's width: a cut id is no id.
        """
        if self.is_name:
            self.lines([next(filter(None, row), "")] for row in rows)
        else:
            self.lines([list(titles), *rows])

    def lines(self, rows: Iterable[Iterable[str]]) -> None:
        """Rows in columns that are as wide as they must be."""
        cells = [[printable(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def data(self, value: Mapping[str, Any]) -> None:
        """JSON over several lines, or YAML."""
        click.echo(_yaml(value) if self._format == "yaml" else json.dumps(value, indent=2))

    def message(self, message: "Message") -> None:
        """A message of a stream, as `entry` shows it."""
        self.entry(as_dict(message))

    def entry(self, shown: Mapping[str, Any]) -> None:
        """One of a stream: JSON on one line, or a document of YAML."""
        click.echo(f"---\n{_yaml(shown)}" if self._format == "yaml" else json.dumps(shown, separators=(",", ":")))


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


def _yaml(value: Mapping[str, Any]) -> str:
    import yaml

    # Python's own emitter escapes all but ASCII, as json does: nothing in the text can steer a terminal.
    written: str = yaml.safe_dump(value, sort_keys=False)
    return written.rstrip("\n")


def _name(message: "Message") -> str:
    fields = {field.name: value for field, value in message.ListFields()}
    return str(next((fields[name] for name in _NAMES if name in fields), next(iter(fields.values()), "")))


def _fields(message: "Message", prefix: str = "") -> Iterator[tuple[str, str]]:
    for field, value in _without_secrets(message).ListFields():
        name = f"{prefix}{field.name}"
        if _is_text(field):
            yield name, _text(value, field)
        elif not field.is_repeated:
            yield from _fields(value, f"{name}.")
        else:
            for position, each in enumerate(value):
                yield from _fields(each, f"{name}[{position}].")


def _cell(message: "Message", path: str | Callable[[Any], str]) -> str:
    if not isinstance(path, str):
        return path(message)
    name, _, rest = path.partition(".")
    field = cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[name])
    if field.message_type is not None and not field.is_repeated and not message.HasField(name):
        return ""
    value = getattr(message, name)
    return _cell(value, rest) if rest else _text(value, field)


def _is_text(field: "FieldDescriptor") -> bool:
    """Whether a value of the field is shown as one text, not field by field."""
    kind = field.message_type
    return (
        kind is None
        or kind.GetOptions().map_entry
        or kind.full_name in {"google.protobuf.Timestamp", "moorage.director.v1.LabelSelector"}
    )


def _text(value: Any, field: "FieldDescriptor") -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return ",".join(f"{key}={each}" for key, each in sorted(value.items()))
    if field.is_repeated:
        return ", ".join(_scalar(each, field) for each in value)
    return _scalar(value, field)


def _scalar(value: Any, field: "FieldDescriptor") -> str:
    if field.enum_type is not None:
        return enum_name(value, field.enum_type)
    if field.message_type is not None:
        return selector.text(value) if field.message_type.name == "LabelSelector" else str(value.ToJsonString())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return f"({len(value):,} bytes; -o json shows them)"
    text = str(value)
    return text if len(text) <= _LONGEST_CELL else f"({len(text):,} characters; -o json shows them)"

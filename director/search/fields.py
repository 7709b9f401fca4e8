"""What can be searched of each kind of resource: the fields of its message, and the columns that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp


class Type(Enum):
    """What the values of a field are, and how a column keeps them."""

    TEXT = str
    """Characters, compared one by one by their code points."""

    INTEGER = int
    """A whole number of 64 bits."""

    BOOLEAN = bool
    """True or false."""

    ENUM = "enum"
    """The number of an enum's value."""

    TIME = "time"
    """Whole microseconds since the epoch; null where the time is not set."""

    LABELS = "labels"
    """A map of texts, kept in a table of its own."""


@dataclass(frozen=True, eq=False)
class Field:
    """One field, by its name in the contract, with dots on the way to it."""

    name: str
    type: Type
    column: str
    enum: EnumDescriptor | None = None


class Searchable:
    """Which fields of a kind of resource a filter and an order may name.

    `fields` and `sortable` are names in the contract; the types follow from `message`. A column has the name of its
    field, with underscores for the dots, unless `columns` says otherwise. Bare words are looked for in `words`.
    What is sortable is never null.
    """

    def __init__(
        self,
        message: Descriptor,
        fields: Sequence[str],
        sortable: Sequence[str],
        columns: Mapping[str, str] | None = None,
        words: Sequence[str] = ("name", "description"),
    ) -> None:
        names = (columns or {}).get
        self.message = message
        self.fields = {name: _field(message, name, names(name, name.replace(".", "_"))) for name in fields}
        self.sortable = {name: self.fields[name] for name in sortable}
        self.words = [self.fields[name] for name in words]
        self.labels = next((field for field in self.fields.values() if field.type is Type.LABELS), None)


def _field(message: Descriptor, path: str, column: str) -> Field:
    *way, name = path.split(".")
    for step in way:
        message = message.fields_by_name[step].message_type or message
    field = message.fields_by_name[name]
    return Field(path, _type(field), column, field.enum_type)


def _type(field: FieldDescriptor) -> Type:
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            return Type.LABELS
        if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
            return Type.TIME
    elif not field.is_repeated:
        return {
            FieldDescriptor.CPPTYPE_STRING: Type.TEXT,
            FieldDescriptor.CPPTYPE_INT32: Type.INTEGER,
            FieldDescriptor.CPPTYPE_INT64: Type.INTEGER,
            FieldDescriptor.CPPTYPE_BOOL: Type.BOOLEAN,
            FieldDescriptor.CPPTYPE_ENUM: Type.ENUM,
        }[field.cpp_type]
    raise ValueError(f"nothing can be searched in {field.full_name}")

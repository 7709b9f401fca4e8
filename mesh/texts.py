"""What every text in a request must be, whatever the contract says of it besides.

A NUL character is text by Protocol Buffers' rules, and none to PostgreSQL or to a C library.
"""

from collections.abc import Iterator
from itertools import islice

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.errors import Violation

MOST_VIOLATIONS = 100
"""How many of the fields that hold a NUL character are told of."""

_NUL = "\0"


def nul_violations(request: Message, content: bytes) -> list[Violation]:
    """A violation for each text field with a NUL character; `content` is the request as it came.

    It ends at `MOST_VIOLATIONS`.
    """
    if b"\0" not in content:  # as in nearly every request: looking costs next to nothing
        return []
    return [
        Violation(path, "must not hold the NUL character") for path in islice(_places(request, ""), MOST_VIOLATIONS)
    ]


def _places(message: Message, prefix: str) -> Iterator[str]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            for key, each in value.items():
                if isinstance(key, str) and _NUL in key:
                    yield path
                yield from _place(entry.fields_by_name["value"], each, f'{path}["{key}"]')
        elif field.is_repeated and entry is not None:
            for index, each in enumerate(value):
                yield from _places(each, f"{path}[{index}].")
        elif field.is_repeated and field.type == FieldDescriptor.TYPE_STRING:
            yield from (f"{path}[{index}]" for index, each in enumerate(value) if _NUL in each)
        else:
            yield from _place(field, value, path)


def _place(field: FieldDescriptor, value: object, path: str) -> Iterator[str]:
    if isinstance(value, Message):
        yield from _places(value, f"{path}.")
    elif field.type == FieldDescriptor.TYPE_STRING and isinstance(value, str) and _NUL in value:
        yield path

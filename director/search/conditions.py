"""What a filter means for one kind of resource: tests of known fields with values of their types.

A condition is kept apart from its values, so that filters of one shape share one statement.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from google.protobuf.descriptor import EnumDescriptor

from director.search.fields import Field, Searchable, Type
from director.search.filters import Filter, Literal, Restriction, Word, refusal
from director.search.tree import All, AnyOf, Not, Tree, any_of
from director.times import to_micros

Value = str | int | bool


class Operation(Enum):
    """How a field is tested."""

    EQUAL = "="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="

    STARTS = "starts with"
    ENDS = "ends with"
    CONTAINS = "contains"

    MENTIONS = "contains, whatever the case of a to z"
    """The value has no capitals of these."""

    IS_SET = "is set"
    """To anything but the default of its type, of which proto3 knows no difference to not being set. Takes no value."""


@dataclass(frozen=True)
class Test:
    """One test, false where the field is not set. `keyed`: of the label whose key is the value before its own."""

    field: Field
    operation: Operation
    keyed: bool = False


Condition = Tree[Test]


class Resolved(NamedTuple):
    """A condition, and the values of its tests from the left to the right."""

    condition: Condition
    values: Sequence[Value]


def resolve(filter: Filter, searchable: Searchable) -> Resolved:
    """What a filter means for one kind of resource; raises `Refusal` (FILTER_INVALID)."""
    if isinstance(filter, Not):
        return _negated(resolve(filter.part, searchable))
    if isinstance(filter, All | AnyOf):
        parts = [resolve(part, searchable) for part in filter.parts]
        join = All if isinstance(filter, All) else AnyOf
        return Resolved(
            join(tuple(part.condition for part in parts)), [value for part in parts for value in part.values]
        )
    if isinstance(filter, Word):
        mentions = [Test(field, Operation.MENTIONS) for field in searchable.words]
        return Resolved(any_of(mentions), [_folded(filter.literal.text)] * len(mentions))
    return _restricted(filter, searchable)


def _restricted(leaf: Restriction, searchable: Searchable) -> Resolved:
    labels = searchable.labels
    if labels is not None and leaf.path[0] == labels.name:
        return _labelled(leaf, labels)
    name = ".".join(leaf.path)
    field = searchable.fields.get(name)
    if field is None:
        known = ", ".join(searchable.fields)
        raise refusal(leaf.position, f"there is no field {name[:40]} to filter by; there are {known}")
    return _compared(leaf, field)


def _labelled(leaf: Restriction, field: Field) -> Resolved:
    """`labels.KEY = value` and its like; `labels:KEY`, `labels.KEY:*`; `labels:*` for any label at all."""
    if len(leaf.path) > 1:
        condition, values = _has(field, leaf.argument) if leaf.comparator == ":" else _text(leaf, field)
        return Resolved(condition, [".".join(leaf.path[1:]), *values])
    if leaf.comparator != ":":
        raise refusal(leaf.position, f"{field.name} is a map: {field.name}.KEY can be compared, or {field.name}:KEY")
    if leaf.argument.is_anything:
        return Resolved(Test(field, Operation.IS_SET), [])
    return Resolved(_test(field, Operation.IS_SET), [_plain(leaf.argument)])


def _has(field: Field, argument: Literal) -> Resolved:
    return Resolved(_test(field, Operation.IS_SET), []) if argument.is_anything else _matches(field, argument)


def _compared(leaf: Restriction, field: Field) -> Resolved:
    if leaf.comparator == ":" and leaf.argument.is_anything:
        return Resolved(Test(field, Operation.IS_SET), [])
    if field.type is Type.TEXT:
        return _text(leaf, field)
    value = _value(field, leaf.argument)
    if leaf.comparator in ("=", ":", "!="):
        return _signed(leaf, _equal(field, value))
    if field.type in (Type.BOOLEAN, Type.ENUM):
        raise refusal(leaf.position, f"{field.name} has no order: it can be compared by =, != and :")
    return Resolved(Test(field, Operation(leaf.comparator)), [value])


def _text(leaf: Restriction, field: Field) -> Resolved:
    if leaf.comparator == ":":
        return Resolved(Test(field, Operation.MENTIONS), [_folded(leaf.argument.text)])
    if leaf.comparator in ("=", "!="):
        return _signed(leaf, _matches(field, leaf.argument))
    return Resolved(_test(field, Operation(leaf.comparator)), [_plain(leaf.argument)])


def _signed(leaf: Restriction, equal: Resolved) -> Resolved:
    """What is tested for equality, or the opposite: `!=` holds where nothing is set (AIP-160: true unless equal)."""
    return _negated(equal) if leaf.comparator == "!=" else equal


def _negated(resolved: Resolved) -> Resolved:
    return Resolved(Not(resolved.condition), resolved.values)


def _matches(field: Field, argument: Literal) -> Resolved:
    if not argument.open_start and not argument.open_end:
        return _equal(field, argument.text)
    operation = {
        (False, True): Operation.STARTS,
        (True, False): Operation.ENDS,
        (True, True): Operation.CONTAINS,
    }[argument.open_start, argument.open_end]
    return Resolved(_test(field, operation), [argument.text])


def _equal(field: Field, value: Value) -> Resolved:
    is_default = not value and field.type not in (Type.TIME, Type.LABELS)
    if is_default:
        return Resolved(Not(Test(field, Operation.IS_SET)), [])
    return Resolved(_test(field, Operation.EQUAL), [value])


def _test(field: Field, operation: Operation) -> Test:
    return Test(field, operation, keyed=field.type is Type.LABELS)


def _value(field: Field, literal: Literal) -> Value:
    text = _plain(literal)
    if field.type is Type.INTEGER:
        return _integer(text, literal)
    if field.type is Type.TIME:
        return _time(text, literal)
    if field.enum is not None:
        return _number(field.enum, text, literal)
    if text not in ("true", "false"):
        raise refusal(literal.position, f"expected true or false, not {text[:40]}")
    return text == "true"


def _plain(literal: Literal) -> str:
    if literal.open_start or literal.open_end:
        raise refusal(literal.position, "a * stands for any text only where texts are compared by = or !=")
    return literal.text


def _integer(text: str, literal: Literal) -> int:
    # The digits are counted first: reading a number takes the square of their count.
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise refusal(literal.position, f"expected a whole number of 64 bits, not {text[:40]}")
    return int(text)


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)


def _time(text: str, literal: Literal) -> int:
    """A time of RFC 3339, cut to whole microseconds."""
    try:
        if _TIME.fullmatch(text):
            return to_micros(datetime.fromisoformat(text.upper()))
    except ValueError:  # no such day, hour, minute, second or offset
        pass
    raise refusal(literal.position, f"expected a time such as 2026-01-31T10:00:00Z (RFC 3339), not {text[:40]}")


def _number(enum: EnumDescriptor, text: str, literal: Literal) -> int:
    """The number of an enum's value, which is named with or without the prefix that all of the enum's values have."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = enum.values_by_name.get(text) or enum.values_by_name.get(prefix + text)
    if value is None:
        names = ", ".join(each.name.removeprefix(prefix) for each in enum.values)
        raise refusal(literal.position, f"expected one of {names}, not {text[:40]}")
    number: int = value.number
    return number


_CAPITALS = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _folded(text: str) -> str:
    return text.translate(_CAPITALS)

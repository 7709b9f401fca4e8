"""What a List request asks for, for the store to answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import Message
from moorage.errors.v1.errors_pb2 import Reason

from director.search import filters
from director.search.conditions import Condition, Value, resolve
from director.search.fields import Searchable
from mesh.errors import Refusal


class SortKey(NamedTuple):
    """A column, and whether its last value comes first."""

    column: str
    descending: bool = False


Order = tuple[SortKey, ...]


@dataclass(frozen=True)
class Query:
    """Which resources (None: all of them), and in which order (empty: that of their kind)."""

    condition: Condition | None = None
    values: Sequence[Value] = ()
    order: Order = ()


EVERYTHING = Query()
"""All there is, in the order of its kind."""


def read_query(request: Message, searchable: Searchable) -> Query:
    """What the `filter` and the `order_by` of a List request ask for.

    Raises `Refusal` (FILTER_INVALID, FIELD_INVALID).
    """
    filter_text: str = getattr(request, "filter")  # noqa: B009 - List requests share no type that names the field
    order_by: str = getattr(request, "order_by")  # noqa: B009
    if not filter_text and not order_by:
        return EVERYTHING
    filter = filters.parse(filter_text)
    condition, values = (None, ()) if filter is None else resolve(filter, searchable)
    return Query(condition, values, read_order(order_by, searchable))


def read_order(text: str, searchable: Searchable) -> Order:
    """The order that an `order_by` (AIP-132) names: fields with commas between, each with ` desc` where wanted.

    Raises `Refusal` (FIELD_INVALID).
    """
    if not text.strip():
        return ()
    order: list[SortKey] = []
    for part in text.split(","):
        name, *direction = part.split() or [""]
        field = searchable.sortable.get(name)
        if field is None:
            known = ", ".join(searchable.sortable)
            raise _refusal(f"there is no field {name[:40]!r} to order by; there are {known}")
        if direction not in ([], ["desc"]):
            raise _refusal(f"behind {name} comes a comma, desc or nothing, not {' '.join(direction)[:40]}")
        if any(key.column == field.column for key in order):
            raise _refusal(f"{name} is named twice")
        order.append(SortKey(field.column, bool(direction)))
    return tuple(order)


def _refusal(message: str) -> Refusal:
    return Refusal(Reason.REASON_FIELD_INVALID, f"order_by: {message}", field="order_by")

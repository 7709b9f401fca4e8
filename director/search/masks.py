"""Partial responses: the `read_mask` of a request (AIP-157)."""

from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal, Violation

M = TypeVar("M", bound=Message)
_Tree = dict[str, "_Tree"]


class ReadMask:
    """Which fields of a message a caller wants to see.

    Empty, and `*`, is all of them. A path may lead into a message, and not into a list or a map. Raises `Refusal`
    (FIELD_INVALID) for one that leads nowhere.
    """

    def __init__(self, mask: FieldMask, message: Descriptor) -> None:
        self._wanted: _Tree | None = None
        if mask.paths and "*" not in mask.paths:
            unknown = sorted({path for path in mask.paths if not _leads_somewhere(path, message)})
            if unknown:
                raise _refusal(unknown, message)
            self._wanted = _tree(mask.paths)

    def apply(self, message: M) -> M:
        """Clear what is not wanted in `message`, and return it."""
        if self._wanted is not None:
            _keep(message, self._wanted)
        return message


def _leads_somewhere(path: str, message: Descriptor | None) -> bool:
    for name in path.split("."):
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None:
            return False
        message = None if field.is_repeated else field.message_type
    return True


def _tree(paths: Sequence[str]) -> _Tree:
    """Each name with what is wanted of it; nothing further stands for all of it."""
    tree: _Tree = {}
    for path in sorted(paths, key=len, reverse=True):  # so that a whole comes after its parts, and takes their place
        *way, last = path.split(".")
        node = tree
        for name in way:
            node = node.setdefault(name, {})
        node[last] = {}
    return tree


def _keep(message: Message, wanted: _Tree) -> None:
    field: FieldDescriptor
    for field, value in message.ListFields():
        within = wanted.get(field.name)
        if within is None:
            message.ClearField(field.name)
        elif within:
            _keep(value, within)


def _refusal(unknown: list[str], message: Descriptor) -> Refusal:
    known = ", ".join(field.name for field in message.fields)
    return Refusal(
        Reason.REASON_FIELD_INVALID,
        f"read_mask names what {message.name} does not have",
        violations=[Violation("read_mask", f"there is no {path[:100]}; there are {known}") for path in unknown],
    )

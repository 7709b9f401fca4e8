"""A UUID is taken in either case, and is the same one (RFC 9562, section 4): lowercase, as all that is stored."""

from functools import cache
from typing import NamedTuple

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message


def lower_uuids(message: Message) -> None:
    """Write in lowercase what the contract says is a UUID."""
    places = _places(message.DESCRIPTOR)
    for name in places.ids:
        id = getattr(message, name)
        if id != id.lower():
            setattr(message, name, id.lower())
    for name in places.lists_of_ids:
        ids = getattr(message, name)
        if any(each != each.lower() for each in ids):
            ids[:] = [each.lower() for each in ids]
    for name in places.messages:
        if message.HasField(name):
            lower_uuids(getattr(message, name))
    for name in places.lists_of_messages:
        for each in getattr(message, name):
            lower_uuids(each)


class _Places(NamedTuple):
    """The fields of a message that are UUIDs, or hold some. No map of a request does."""

    ids: list[str]
    lists_of_ids: list[str]
    messages: list[str]
    lists_of_messages: list[str]

    def __bool__(self) -> bool:
        return any(map(bool, self._asdict().values()))


@cache
def _places(descriptor: Descriptor) -> _Places:
    places = _Places([], [], [], [])
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if rules.string.uuid:
            places.ids.append(field.name)
        elif rules.repeated.items.string.uuid:
            places.lists_of_ids.append(field.name)
        elif field.message_type is not None and _places(field.message_type):
            (places.lists_of_messages if field.is_repeated else places.messages).append(field.name)
    return places

"""Random requests to a gRPC service, drawn from its descriptor, so that a new method is among them by itself.

Most are such as a careful client sends, about what earlier answers told of; in some of those a few values are hostile,
and of some the serialised bytes are tampered with.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.access.v1 import access_pb2
from moorage.access.v1.access_pb2 import Role
from moorage.director.v1.specification_pb2 import Specification

from tests.support import fuzz_values

MANY = 40
"""Of how many things of a kind are known before creating another mostly becomes deleting one."""

_REMEMBERED = 100
_HOSTILE, _TAMPERED, _ASTRAY = 0.25, 0.15, 0.1
_LARGEST = 5 * 1024 * 1024

Facts = Mapping[str, Any]
"""Singular fields of one thing and of what it holds, by their names."""

_BEHAVIOUR: Any = field_behavior_pb2.field_behavior  # untyped, like all of google.api


@dataclass(frozen=True)
class Party:
    """Who calls: the role, and the fields that name the party itself and whom it deals with."""

    role: Role.ValueType
    own: Facts = field(default_factory=dict)


class Drawn(NamedTuple):
    """One request: its bytes as they are sent, and what it is about."""

    method: MethodDescriptor
    content: bytes
    about: Facts


class Draws:
    """Draws requests, and learns from the answers what there is."""

    def __init__(self, service: ServiceDescriptor, random: Random) -> None:
        self._methods: Sequence[MethodDescriptor] = service.methods
        self._by_name = {method.name: method for method in service.methods}
        self._random = random
        self._things: dict[str, deque[Facts]] = {}
        self._ids: dict[str, deque[str]] = {}
        self._pages: dict[str, deque[bytes]] = {}
        self._last = b""

    def draw(self, party: Party) -> Drawn:
        """The next request of `party`, mostly one to a method that it may call."""
        method = self._method(party)
        about = self._subject(method.input_type, party)
        request = GetMessageClass(method.input_type)()
        pages = self._pages.get(method.name)
        if pages and self._random.random() < 0.3:
            request.ParseFromString(self._random.choice(pages))
        else:
            self._fill(request, about, _resource(method))
        mood = self._random.random()
        if mood < _HOSTILE:
            for _ in range(self._random.choice([1, 1, 2, 4])):
                self._spoil(request)
        content = request.SerializeToString()
        if _HOSTILE <= mood < _HOSTILE + _TAMPERED:
            content = fuzz_values.tampered(self._random, content, self._last)
        self._last = content
        return Drawn(method, content[:_LARGEST], about)

    def learn(self, drawn: Drawn, answer: bytes) -> None:
        """Take note of what an answer tells: what there is, what is gone, and how a list goes on."""
        response = GetMessageClass(drawn.method.output_type).FromString(answer)
        if drawn.method.name.startswith("Delete"):
            self.forget(drawn, _snake(drawn.method.name.removeprefix("Delete")))
        self._note(response)
        token = getattr(response, "next_page_token", "")
        if token and len(drawn.content) < 10_000:
            try:
                following: Any = GetMessageClass(drawn.method.input_type).FromString(drawn.content)
            except DecodeError:
                return
            following.page_token = token
            pages = self._pages.setdefault(drawn.method.name, deque(maxlen=10))
            pages.append(following.SerializeToString())

    def forget(self, drawn: Drawn, kind: str) -> None:
        """Take note that what a request names as its `kind`, such as `event_api`, is not there, or no longer."""
        id = drawn.about.get(f"{kind}_id")
        if id is None:
            return
        for known in self._ids.values():
            if id in known:
                known.remove(id)
        for name, things in self._things.items():
            kept = [thing for thing in things if id not in thing.values()]
            if len(kept) < len(things):
                self._things[name] = deque(kept, _REMEMBERED)

    def _method(self, party: Party) -> MethodDescriptor:
        allowed = [
            method
            for method in self._methods
            if party.role in {grant.role for grant in method.GetOptions().Extensions[access_pb2.allow].grants}
        ]
        method = self._random.choice(self._methods if self._random.random() < _ASTRAY else allowed)
        kind = method.name.removeprefix("Create")
        deletion = self._by_name.get(f"Delete{kind}")
        if kind == method.name or deletion is None:
            return method
        full = len(self._ids.get(f"{_snake(kind)}_id", ())) >= MANY
        return deletion if full and self._random.random() < 0.7 else method

    def _subject(self, request: Descriptor, party: Party) -> Facts:
        """Something known that has most of the fields by which the request names what it is about."""
        names = _identifying(request)
        mine: list[Facts] = [{}]
        anyones: list[Facts] = [{}]
        for things in filter(None, self._things.values()):
            for thing in self._random.choices(things, k=3):
                anyones = _better(anyones, thing, names)
                if all(thing.get(name, value) == value for name, value in party.own.items()):
                    mine = _better(mine, thing, names)
        if self._random.random() < 0.8:
            return {**self._random.choice(mine), **party.own}
        return self._random.choice(anyones)

    def _note(self, message: Message) -> Facts:
        """Remember the things that a message is or holds; returns the facts of all that is in it once."""
        facts: dict[str, Any] = {}
        held: dict[str, Any] = {}
        for each, value in message.ListFields():
            if _is_map(each):
                continue
            if each.message_type is None:
                if not each.is_repeated:
                    facts[each.name] = value
            elif each.is_repeated:
                for one in value:
                    self._note(one)
            else:
                held.update(self._note(value))
        facts = {**held, **facts}
        for name in filter(_names, facts):
            known = self._ids.setdefault(name, deque(maxlen=_REMEMBERED))
            if facts[name] not in known:
                known.append(facts[name])
        if any(map(_names, facts)):
            self._things.setdefault(message.DESCRIPTOR.full_name, deque(maxlen=_REMEMBERED)).append(facts)
        return facts

    def _fill(self, message: Any, about: Facts, resource: Descriptor | None) -> None:
        descriptor = message.DESCRIPTOR
        if isinstance(message, Timestamp):
            message.seconds = self._random.randrange(2_000_000_000)
            return
        if isinstance(message, Specification):
            self._fill_specification(message, of_events=resource is not None and resource.name == "EventApi")
            return
        chosen = {one.name: self._random.choice(one.fields).name for one in descriptor.oneofs}
        for each in descriptor.fields:
            one = each.containing_oneof
            if one is not None and chosen[one.name] != each.name:
                continue
            if one is not None or self._random.random() < self._likelihood(each, about):
                self._set(message, each, about, resource)

    def _likelihood(self, each: FieldDescriptor, about: Facts) -> float:
        behaviour = each.GetOptions().Extensions[_BEHAVIOUR]
        rules = each.GetOptions().Extensions[validate_pb2.field]
        demanded = rules.required or rules.string.min_len or rules.repeated.min_items or rules.enum.not_in
        if each.name.endswith("_id") and each.name in about:
            return 0.95
        if demanded or field_behavior_pb2.REQUIRED in behaviour or each.name == "values":
            return 0.98
        if field_behavior_pb2.OUTPUT_ONLY in behaviour:
            return 0.03
        return {"validate_only": 0.1, "page_token": 0.02, "failures": 0.1, "etag": 0.25}.get(each.name, 0.35)

    def _set(self, message: Any, each: FieldDescriptor, about: Facts, resource: Descriptor | None) -> None:
        if _is_map(each):
            labels = getattr(message, each.name)
            for _ in range(self._random.choice([1, 1, 2])):
                labels[self._random.choice(fuzz_values.LABEL_KEYS)] = self._random.choice(fuzz_values.LABEL_VALUES)
        elif each.is_repeated:
            for _ in range(self._random.choice([1, 1, 2, 3])):
                if each.message_type:
                    self._fill(getattr(message, each.name).add(), self._elsewhere(each, about), resource)
                else:
                    getattr(message, each.name).append(self._value(each, {}, resource))
        elif each.message_type:
            inner = getattr(message, each.name)
            inner.SetInParent()
            self._fill(inner, about, resource)
        else:
            setattr(message, each.name, self._value(each, about, resource))

    def _elsewhere(self, each: FieldDescriptor, about: Facts) -> Facts:
        """What one of several messages is about: of those that each name something, something else."""
        named = [one.name for one in _inner(each) if _names(one.name)]
        return {**about, named[0]: self._random.choice(ids)} if named and (ids := self._ids.get(named[0])) else about

    def _value(self, each: FieldDescriptor, about: Facts, resource: Descriptor | None) -> Any:
        if each.name in about and (_names(each.name) or each.name in ("etag", "revision", "content_sha256")):
            return about[each.name]
        match each.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return self._bytes() if each.type == FieldDescriptor.TYPE_BYTES else self._text(each, resource)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._random.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                wrong = each.GetOptions().Extensions[validate_pb2.field].enum.not_in
                values = each.enum_type.values if each.enum_type else ()
                return self._random.choice([value.number for value in values if value.number not in wrong])
        return self._random.choice([0, 1, 2, 10, 1000])

    def _text(self, each: FieldDescriptor, resource: Descriptor | None) -> str:
        if each.full_name == "google.protobuf.FieldMask.paths":
            return self._random.choice(fuzz_values.paths(resource) or ["name"])
        if each.full_name == "moorage.director.v1.LabelRequirement.values":
            return self._random.choice(fuzz_values.LABEL_VALUES)
        if (known := self._known_id(each.name)) is not None:
            return known
        plain = fuzz_values.plain_text(self._random, each.name, resource)
        if plain is not None:
            return plain
        rules = each.GetOptions().Extensions[validate_pb2.field].string
        if rules.uuid or each.name.endswith(("_id", "_ids")):
            return str(UUID(int=self._random.getrandbits(128), version=4))
        return self._random.choice(["one", "two words", "drei Wörter hier"])

    def _known_id(self, name: str) -> str | None:
        """An id that fits a field of this name: of `eventing_runtime_id` and of `add_runtime_ids`, a `runtime_id`."""
        words = name.removesuffix("s").split("_")
        for first in range(len(words) - 1):
            if (ids := self._ids.get("_".join(words[first:]))) and self._random.random() < 0.9:
                return self._random.choice(ids)
        return None

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice([0, 3, 100]))

    def _fill_specification(self, message: Specification, *, of_events: bool) -> None:
        message.format = 2 if of_events else self._random.choice([1, 3, 4])  # type: ignore[assignment]
        if self._random.random() < 0.15:
            message.url = f"{fuzz_values.NOWHERE}/{self._random.randrange(9)}"
            return
        content = fuzz_values.document(self._random, message.format)
        if isinstance(content, bytes):
            message.data = content
        else:
            message.content = content

    def _spoil(self, request: Any) -> None:
        """Set one field, anywhere in the request, to what it should not be; one without fields stays as it is."""
        places = _places(request)
        if not places:
            return
        message, each = self._random.choice(places)
        if _is_map(each):
            labels = getattr(message, each.name)
            for number in range(self._random.choice([1, 65, 2000])):
                key = f"k{number}" if number else fuzz_values.hostile_text(self._random, "key", "")
                labels[key] = fuzz_values.hostile_text(self._random, "value", "x") if number < 3 else "x"
        elif each.is_repeated:
            self._repeat(getattr(message, each.name), each)
        elif each.message_type is None:
            setattr(message, each.name, self._hostile(each, getattr(message, each.name)))
        elif self._random.random() < 0.5:
            message.ClearField(each.name)
        else:
            inner = getattr(message, each.name)
            inner.SetInParent()
            if _inner(each):
                self._spoil(inner)

    def _repeat(self, values: Any, each: FieldDescriptor) -> None:
        """Add more than there should be, of short ones."""
        for _ in range(self._random.choice([1, 33, 101, 1001, 20_000])):
            if each.message_type:
                values.add()
            elif values and self._random.random() < 0.9:
                values.append(values[0])
            else:
                value = self._hostile(each, each.default_value)
                values.append(value[:200] if isinstance(value, str | bytes) else value)

    def _hostile(self, each: FieldDescriptor, before: Any) -> Any:
        if each.type == FieldDescriptor.TYPE_BYTES:
            return fuzz_values.tampered(self._random, before or b"", self._last)[:_LARGEST]
        if each.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return fuzz_values.hostile_text(self._random, each.name, before)
        if each.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return not before
        return fuzz_values.hostile_integer(self._random, each)


def _resource(method: MethodDescriptor) -> Descriptor | None:
    """The kind of thing that a method is about: what its answer, else its request, holds."""
    for shape in (method.output_type, method.input_type):
        for each in shape.fields:
            if each.message_type and each.message_type.file.package == shape.file.package:
                return each.message_type
    return None


def _better(found: list[Facts], thing: Facts, names: set[str]) -> list[Facts]:
    """Those of the things that have most of the names."""
    most, shared = len(names & found[0].keys()), len(names & thing.keys())
    if shared == most:
        return [*found, thing]
    return [thing] if shared > most else found


def _names(name: str) -> bool:
    """Whether a field of this name says which thing is meant."""
    return (name.endswith("_id") and name != "request_id") or name in ("key", "sha256")


def _identifying(request: Descriptor) -> set[str]:
    """Names of the fields by which a request, or the thing in it, says what it is about."""
    found = set()
    for each in request.fields:
        inner = (each,) if _is_map(each) else _inner(each) or (each,)
        found |= {one.name for one in inner if _names(one.name)}
    return found


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _inner(each: Any) -> Sequence[Any]:
    """The fields of what a field holds, where that is a message."""
    return each.message_type.fields if each.message_type else ()


def _is_map(each: Any) -> bool:
    return bool(each.message_type and each.message_type.GetOptions().map_entry)


def _places(message: Message) -> list[tuple[Any, Any]]:
    """Each field of the message and of those that are set within it."""
    found: list[tuple[Any, Any]] = [(message, each) for each in message.DESCRIPTOR.fields]
    for each, value in message.ListFields():
        if each.message_type and not _is_map(each):
            for inner in value if each.is_repeated else [value]:
                found += _places(inner)
    return found

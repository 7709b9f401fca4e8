"""Text to document: JSON, or YAML 1.2 with the JSON types, which are what OpenAPI and AsyncAPI allow.

Documents come from outside, so nothing here recurses, an alias counts as all that it stands for, and what is too deep
or too large is refused.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

MAX_DEPTH = 200
"""Objects and arrays within each other."""

MAX_NODES = 1_000_000
"""Values in a YAML document, with those that aliases repeat."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 300


class Unparsable(Exception):
    """The text is no document; the message says why and, where it is known, at which line."""


def parse(content: str) -> Any:
    """The document that `content` is the text of; raises `Unparsable`."""
    text = content.removeprefix("\ufeff")
    if not text.lstrip().startswith(("{", "[")):
        return _parse_yaml(text)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise Unparsable("it is nested too deep") from None
    except ValueError as error:
        try:
            return _parse_yaml(text)
        except Unparsable:
            raise Unparsable(f"it is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _parse_yaml(text: str) -> Any:
    builder = _Builder()
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Unparsable(f"it is not YAML: {where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Unparsable(f"it is not YAML: {error}") from None
    return builder.document


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, Loader=yaml.CSafeLoader)


class _Open:
    """An object or array that is being read: its value, its size so far, and the key that waits for a value."""

    __slots__ = ("anchor", "has_key", "key", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.size = 1
        self.key = ""
        self.has_key = False


class _Builder:
    """Makes a document out of YAML events."""

    def __init__(self) -> None:
        self.document: Any = None
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def take(self, event: yaml.Event) -> None:
        """Add what the next event says."""
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._begin(_Open({}, event.anchor))
            case yaml.SequenceStartEvent():
                self._begin(_Open([], event.anchor))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                ended = self._open.pop()
                self._add(ended.value, ended.size, ended.anchor)
            case yaml.AliasEvent(anchor=str(anchor)):
                self._alias(anchor)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise Unparsable("it is more than one YAML document")

    def _begin(self, opened: _Open) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and not parent.has_key:
            raise Unparsable("a key must be a string")
        self._open.append(opened)
        if len(self._open) > MAX_DEPTH:
            raise Unparsable(f"it is nested deeper than {MAX_DEPTH} levels")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and not parent.has_key:
            if event.value in parent.value:
                raise Unparsable(f"the key {event.value!r} stands twice in one object")
            parent.key, parent.has_key = event.value, True
            return
        plain = event.implicit[0] and event.tag is None
        self._add(_scalar_value(event.value) if plain else event.value, 1, event.anchor)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            raise Unparsable(f"the alias *{anchor} stands for nothing that is complete before it")
        self._add(*self._anchors[anchor], None)

    def _add(self, value: Any, size: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self.document = value
            return
        parent = self._open[-1]
        parent.size += size
        if parent.size > MAX_NODES:
            raise Unparsable(f"it has more than {MAX_NODES:,} values")
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif not parent.has_key:
            raise Unparsable("a key must be a string")
        else:
            parent.value[parent.key] = value
            parent.has_key = False


def _scalar_value(text: str) -> Any:
    """What an unquoted scalar is under the core schema of YAML 1.2, which knows no dates and no `yes`."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text

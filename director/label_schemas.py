"""The JSON Schemas (2020-12) that label definitions hold the values of labels to.

Whatever an administrator writes, holding a value to it takes next to no time: patterns are matched by RE2, in time
linear to the value (and so know no look-around and no back-references), and a schema stands by itself, for references
can make a short one arbitrarily costly, and could lead to the network. `format` is a note, as the standard has it
unless told otherwise.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NoReturn

import re2  # type: ignore[import-untyped]  # it has no types of its own
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]  # the same
from jsonschema.exceptions import SchemaError, ValidationError  # type: ignore[import-untyped]  # the same
from jsonschema.validators import extend  # type: ignore[import-untyped]  # the same

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MOST_DEPTH = 32
"""How deep the objects and arrays of a schema may lie in one another."""

MOST_PATTERN_BYTES = 1024 * 1024
"""Memory that one compiled pattern may take."""

_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


class SchemaRefused(Exception):
    """A text that is no schema for labels; the message says why."""


class LabelSchema:
    """Says which values a label may have."""

    def __init__(self, text: str) -> None:
        """Read the schema from JSON; raises `SchemaRefused`."""
        schema = _parsed(text)
        for name, value in _members(schema):
            _check_member(name, value)
        try:
            _Validator.check_schema(schema, format_checker=_NO_FORMATS)
        except SchemaError as error:
            raise SchemaRefused(f"{error.json_path}: {error.message}") from error
        self._validator = _Validator(schema)

    def problem(self, value: str) -> str:
        """What is wrong with a value; empty where nothing is."""
        error = next(self._validator.iter_errors(value), None)
        return error.message if error is not None else ""


@lru_cache(maxsize=256)
def label_schema(text: str) -> LabelSchema:
    """The schema that `text` is; raises `SchemaRefused`. Those used last are remembered."""
    return LabelSchema(text)


def _parsed(text: str) -> Any:
    try:
        schema = json.loads(text, parse_constant=_not_json)
        json.dumps(schema, ensure_ascii=False).encode()  # an escape can spell half a character, which is no text
        return schema
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise SchemaRefused(f"it is not JSON: {error}") from error


def _members(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every member of every object in the schema; raises `SchemaRefused` where they lie too deep."""
    within = [(schema, 0)]
    while within:
        part, depth = within.pop()
        if depth > MOST_DEPTH:
            raise _too_deep()
        if isinstance(part, dict):
            yield from part.items()
            within += [(each, depth + 1) for each in part.values()]
        elif isinstance(part, list):
            within += [(each, depth + 1) for each in part]


def _check_member(name: str, value: Any) -> None:
    if name in _REFERENCES:
        raise SchemaRefused(f"{name}: the schema of a label refers to no other, nor to parts of itself")
    if name == "$schema" and value != DIALECT:
        raise SchemaRefused(f"$schema: the one dialect that is understood is {DIALECT}")
    if name == "pattern" and isinstance(value, str):
        try:
            _pattern(value)
        except re2.error as error:
            raise SchemaRefused(f"pattern: {value!r} is none of RE2's: {_reason(error)}") from error


def _matches(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _pattern(pattern).search(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Any:
    return re2.compile(pattern, _OPTIONS)


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MOST_PATTERN_BYTES
    options.log_errors = False
    return options


def _reason(error: Exception) -> str:
    return str(error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error)


def _too_deep() -> SchemaRefused:
    return SchemaRefused(f"its objects and arrays lie in one another more than {MOST_DEPTH} deep")


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no value of JSON")


_NO_FORMATS = FormatChecker(formats=())
"""Patterns are RE2's to judge, which knows some that Python does not."""
_OPTIONS = _options()
_Validator = extend(Draft202012Validator, {"pattern": _matches})

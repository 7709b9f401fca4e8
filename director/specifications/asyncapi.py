"""AsyncAPI 2 and 3: the structure that every document must have, as JSON Schema."""

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no types of its own

from director.specifications.schema_errors import describe

_Schema = dict[str, Any]


def problems(document: dict[str, Any]) -> Iterator[str]:
    """A line for each thing that is wrong with an AsyncAPI document whose references are whole."""
    version = document.get("asyncapi")
    for pattern, validator in _VERSIONS.items():
        if isinstance(version, str) and re.fullmatch(pattern, version):
            yield from map(describe, validator.iter_errors(document))
            return
    yield "it does not say asyncapi: '2.x.y' or '3.x.y'"


def _object(required: tuple[str, ...] = (), **properties: _Schema) -> _Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _closed(required: tuple[str, ...], **properties: _Schema) -> _Schema:
    """An object that takes no other properties than these, save extensions."""
    return {**_object(required, **properties), "patternProperties": {"^x-": {}}, "additionalProperties": False}


def _map(values: _Schema) -> _Schema:
    return {"type": "object", "additionalProperties": values}


def _or_reference(schema: _Schema) -> _Schema:
    return {"if": {"type": "object", "required": ["$ref"]}, "then": _REFERENCE, "else": schema}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


_TEXT: _Schema = {"type": "string"}
_ANY_OBJECT: _Schema = {"type": "object"}
_REFERENCE = _object(("$ref",), **{"$ref": _TEXT})
_INFO = _object(
    ("title", "version"),
    title=_TEXT,
    version=_TEXT,
    description=_TEXT,
    termsOfService=_TEXT,
    contact=_object(name=_TEXT, url=_TEXT, email=_TEXT),
    license=_object(("name",), name=_TEXT, url=_TEXT),
)
_MESSAGE_2 = _or_reference(_object(name=_TEXT, title=_TEXT, summary=_TEXT, contentType=_TEXT, oneOf=_list(_ANY_OBJECT)))
_OPERATION_2 = _object(operationId=_TEXT, summary=_TEXT, description=_TEXT, tags=_list(_ANY_OBJECT), message=_MESSAGE_2)
_CHANNEL_2 = _object(
    description=_TEXT,
    servers=_list(_TEXT),
    subscribe=_OPERATION_2,
    publish=_OPERATION_2,
    parameters=_map(_ANY_OBJECT),
    bindings=_ANY_OBJECT,
)
_ASYNCAPI_2 = _closed(
    ("asyncapi", "info", "channels"),
    asyncapi=_TEXT,
    id=_TEXT,
    info=_INFO,
    servers=_map(_or_reference(_object(("url", "protocol"), url=_TEXT, protocol=_TEXT, description=_TEXT))),
    defaultContentType=_TEXT,
    channels=_map(_or_reference(_CHANNEL_2)),
    components=_ANY_OBJECT,
    tags=_list(_object(("name",), name=_TEXT)),
    externalDocs=_object(("url",), url=_TEXT),
)

_MESSAGE_3 = _or_reference(_object(name=_TEXT, title=_TEXT, summary=_TEXT, contentType=_TEXT, headers=_ANY_OBJECT))
_CHANNEL_3 = _object(
    address={"type": ["string", "null"]},
    messages=_map(_MESSAGE_3),
    title=_TEXT,
    summary=_TEXT,
    description=_TEXT,
    servers=_list(_REFERENCE),
    parameters=_map(_ANY_OBJECT),
    bindings=_ANY_OBJECT,
)
_REPLY_3 = _object(address=_ANY_OBJECT, channel=_REFERENCE, messages=_list(_REFERENCE))
_OPERATION_3 = _object(
    ("action", "channel"),
    action={"enum": ["send", "receive"]},
    channel=_REFERENCE,
    messages=_list(_REFERENCE),
    title=_TEXT,
    summary=_TEXT,
    description=_TEXT,
    reply=_or_reference(_REPLY_3),
)
_ASYNCAPI_3 = _closed(
    ("asyncapi", "info"),
    asyncapi=_TEXT,
    id=_TEXT,
    info=_INFO,
    servers=_map(_or_reference(_object(("host", "protocol"), host=_TEXT, protocol=_TEXT, pathname=_TEXT))),
    defaultContentType=_TEXT,
    channels=_map(_or_reference(_CHANNEL_3)),
    operations=_map(_or_reference(_OPERATION_3)),
    components=_ANY_OBJECT,
)

_VERSIONS = {
    r"2\.\d+\.\d+": Draft202012Validator(_ASYNCAPI_2),
    r"3\.\d+\.\d+": Draft202012Validator(_ASYNCAPI_3),
}

"""Values for the fields of random requests: those that a careful client sends, and those that nobody should."""

import base64
import json
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from moorage.director.v1.specification_pb2 import SpecificationFormat

LABEL_KEYS = ("env", "tier", "team", "example.org/zone")
LABEL_VALUES = ("x", "y", "z", "")
NOWHERE = "http://127.0.0.1:9"
"""An origin that nobody reaches, and that nobody asks a name server for."""

OPENAPI = json.dumps({"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {}})
ASYNCAPI = "asyncapi: 3.0.0\ninfo: {title: t, version: '1'}\n"
EDMX = (
    '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
    '<Schema Namespace="n" xmlns="http://docs.oasis-open.org/odata/ns/edm"/></edmx:DataServices></edmx:Edmx>'
)
DOCUMENTS: Mapping[int, Sequence[str]] = {
    SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI: (OPENAPI, "openapi: 3.1.0\ninfo: {title: t, version: '1'}\n"),
    SpecificationFormat.SPECIFICATION_FORMAT_ASYNCAPI: (ASYNCAPI, '{"asyncapi": "2.6.0"}'),
    SpecificationFormat.SPECIFICATION_FORMAT_ODATA_EDMX: (EDMX,),
}

_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
_ENTITIES = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/hosts">]><x>&b;&f;</x>'
HOSTILE_TEXTS: Sequence[str] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x01\x1b[31m\x7f\x85",
    "line\r\nbreak\u2028",
    "\u202egnirts\ufeff",
    "e\u0301" * 40,
    "\ufffe\uffff\U0010ffff",
    "😀" * 300,
    "x" * 64,
    "x" * 5000,
    "é" * 200_000,
    "'; DROP TABLE applications; --",
    '"\\',
    "%s%n%(x)s{0}{x.__class__}",
    "%",
    "_",
    "*",
    "null",
    "-1",
    "1e999",
    "../../../etc/passwd",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "A" * 36,
    '"0"',
    '"99999999999999999999999999"',
    'W/"1"',
    "[" * 5000,
    '{"a":' * 2000 + "1" + "}" * 2000,
    '{"\\u0000": NaN}',
    "- " * 3000,
    "!!python/object/apply:os.system [x]",
    "? {? {? {}}}",
    "a: 2001-13-45T99:99:99Z\n0x: .inf",
    _LAUGHS,
    _ENTITIES,
    "<a>" * 3000,
    "<?xml version='1.0' encoding='utf-7'?><x/>",
)
HOSTILE_URLS: Sequence[str] = (
    "http://",
    "http://[::1",
    "http://[fe80::1%25lo]/x",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://user:secret@127.0.0.1:9/",
    "http://0x7f.1:9/",
    "http://169.254.169.254/latest",
    "https://0.0.0.0:9",
    "https://%00.invalid/",
    "https://xn--.invalid/",
    f"https://{'a' * 64}.invalid/",
    f"https://{'a.' * 200}invalid/",
    "https://\u00fc.invalid/",
    "http://127.0.0.1:9/%zz?\u00e9#\u00e9",
    "ftp://127.0.0.1/",
    "javascript:alert(1)",
    "http:127.0.0.1",
    f"{NOWHERE}/{'x' * 2020}",
)
HOSTILE_SCHEMAS: Sequence[str] = (
    '{"$ref": "#"}',
    '{"$schema": "http://127.0.0.1:9/"}',
    '{"pattern": "(a+)+$"}',
    '{"pattern": "(?=a)"}',
    '{"pattern": "((a{1000}){1000}){1000}"}',
    '{"pattern": "\\ud800"}',
    '{"pattern": "\\u0000"}',
    '{"properties": {"\\udfff": 5}}',
    '{"const": "\\ud800"}',
    '{"enum": 1e400}',
    '{"maxLength": -1, "type": "nope"}',
    '{"maxLength": 1e400}',
    f'{{"minLength": {"9" * 10_000}}}',
    '{"not": ' * 1500 + "true" + "}" * 1500,
    "[" * 16_000,
    "1" * 16_000,
    '"\\ud800"',
    "NaN",
)
HOSTILE_FILTERS: Sequence[str] = (
    "(" * 2000,
    "(" * 1000 + "name=a" + ")" * 1000,
    "NOT " * 1000 + "a",
    "-" * 4000,
    " OR ".join(["a"] * 800),
    " AND ".join(['name="x"'] * 400),
    'name="',
    "name='\\",
    "name=*",
    'name="*a*b*c*%_*"',
    "name:",
    "= = =",
    "AND",
    "a AND",
    "labels:*",
    "labels.:x",
    'labels."a/b"=x',
    "labels.env.env=x",
    "create_time>9999-99-99",
    'create_time>"0001-01-01T00:00:00Z"',
    'create_time<"9999-12-31T23:59:59.999999999Z"',
    'create_time="2020-01-01T00:00:00+99:99"',
    'create_time>"-1-01-01T00:00:00Z"',
    "revision>99999999999999999999",
    "revision=-9223372036854775809",
    "revision=1.5",
    "state=99",
    "state=NOPE",
    "name.name.name=a",
    "call(name)",
    "name=\x01",
    "name=\u202e",
    "name<>a",
    "a" * 4096,
    "name desc desc",
    "name," * 50,
    ",",
    "unknown desc",
    "labels.env",
)
_EDGES = (0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1, 253402300800, -62135596801)
_WIDTHS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}


def plain_text(random: Random, name: str, resource: Descriptor | None) -> str | None:
    """What a careful client says in a text field of this name, by the kinds of names that the contract has."""
    makers: Mapping[str, Callable[[], str]] = {
        "name": lambda: f"{random.choice('abcdefgh')}{random.randrange(400)}",
        "key": lambda: random.choice(LABEL_KEYS),
        "version_group": lambda: random.choice(["orders", "bills"]),
        "schema": lambda: random.choice(
            ["", '{"enum": ["x", "y", ""]}', '{"maxLength": 3}', '{"pattern": "^[xyz]?$"}']
        ),
        "filter": lambda: plain_filter(random, resource),
        "order_by": lambda: random.choice(["name", "name desc", "create_time", "create_time desc, name", "key"]),
        "request_id": lambda: str(uuid.UUID(int=random.getrandbits(128), version=4)),
        "secret": lambda: f"whsec_{base64.b64encode(random.randbytes(32)).decode()}",
        "etag": lambda: f'"{random.randrange(100)}"',
        "page_token": lambda: base64.urlsafe_b64encode(random.randbytes(20)).rstrip(b"=").decode(),
        "sha256": lambda: random.randbytes(32).hex(),
        "content_sha256": lambda: random.randbytes(32).hex(),
        "value": lambda: f"v{random.randrange(9)}",
        "token": lambda: "t0ken",
    }
    if name in makers:
        return makers[name]()
    return f"{NOWHERE}/{random.randrange(9)}" if name.endswith("url") else None


def plain_filter(random: Random, resource: Descriptor | None) -> str:
    """A filter (AIP-160) over the fields of `resource`; it may name one that the method does not know."""
    terms = [_term(random, resource) for _ in range(random.choice([1, 1, 2, 3]))]
    joined = terms[0]
    for term in terms[1:]:
        joined = f"{joined}{random.choice([' AND ', ' OR ', ' '])}{random.choice(['', 'NOT ', '-'])}{term}"
    return f"({joined})" if random.random() < 0.2 else joined


def paths(resource: Descriptor | None) -> list[str]:
    """The paths of a message's fields, two deep."""
    found = []
    for field in resource.fields if resource else ():
        found.append(field.name)
        if field.message_type and not field.is_repeated:
            found += [f"{field.name}.{inner.name}" for inner in field.message_type.fields]
    return found


def hostile_text(random: Random, name: str, before: str) -> str:
    """What nobody should say in a text field of this name; it may be a spoilt form of what was said `before`."""
    if before and random.random() < 0.3:
        return spoilt(random, before)
    if name.endswith("url") and random.random() < 0.6:
        return random.choice(HOSTILE_URLS)
    if name == "schema" and random.random() < 0.6:
        return random.choice(HOSTILE_SCHEMAS)
    if name in ("filter", "order_by", "paths") and random.random() < 0.7:
        return random.choice(HOSTILE_FILTERS)
    if random.random() < 0.1:
        return "".join(
            chr(random.choice([random.randrange(0xD800), random.randrange(0xE000, 0x110000)])) for _ in range(9)
        )
    return random.choice(HOSTILE_TEXTS)


def spoilt(random: Random, text: str) -> str:
    """The text with something wrong in one place."""
    at = random.randrange(len(text))
    return random.choice(
        [
            text[:at] + random.choice(string.printable + "\0é") + text[at + 1 :],
            text[:at],
            text[:at] + text[at : at + 4] * 3 + text[at:],
            text.swapcase(),
            text * 2,
            f" {text}",
            f"{text}\n",
        ]
    )


def hostile_integer(random: Random, field: FieldDescriptor) -> int:
    """A number at the edge of what the field's type, or somebody's arithmetic, can hold."""
    least, most = _WIDTHS[field.cpp_type]
    return max(least, min(most, random.choice([*_EDGES, least, most, 99])))


def tampered(random: Random, content: bytes, other: bytes) -> bytes:
    """Serialised bytes that came to harm, or that were never a message; `other` is another request to splice with."""
    at = random.randrange(len(content) + 1)
    length = random.choice([1, 2, 8, 64])
    match random.randrange(8):
        case 0:
            spoiled = bytearray(content or b"\0")
            for _ in range(random.choice([1, 1, 3, 20])):
                spoiled[random.randrange(len(spoiled))] ^= 1 << random.randrange(8)
            return bytes(spoiled)
        case 1:
            return content[:at]
        case 2:
            return content[:at] + other[random.randrange(len(other) + 1) :]
        case 3:
            return content[:at] + random.randbytes(length) + content[at:]
        case 4:
            return content + content[at:] * random.choice([1, 3, 100])
        case 5:
            return content[:at] + content[at + length :]
        case 6:
            deep = random.choice([20, 99, 101, 5000])
            opened = random.choice([b"\xfb\x7f", b"\x0b", b"\x0a\x04"])  # groups and messages within one another
            return content + opened * deep + (b"\xfc\x7f" * deep if opened == b"\xfb\x7f" else b"")
    return random.randbytes(random.choice([0, 1, 7, 100, 3000, 4_200_000]))


def document(random: Random, format: int) -> str | bytes:
    """A small document in a format that specifications have."""
    if format == SpecificationFormat.SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET:
        descriptors = FileDescriptorSet()
        descriptors.file.add(name="a.proto", syntax="proto3").service.add(name=f"S{random.randrange(9)}")
        return descriptors.SerializeToString()
    return random.choice(DOCUMENTS[format]) + " " * random.randrange(3)


def _term(random: Random, resource: Descriptor | None) -> str:
    path = random.choice([*paths(resource), "name", "name", "labels.env", "create_time"])
    if random.random() < 0.15:
        return random.choice(["a1", '"one"', "labels:env", f"{path}:*", f"{path}:1"])
    literal = random.choice(["a1", '"b*"', '"*1"', "x", '""', "1", "true", '"2026-01-01T00:00:00Z"', '"https://"'])
    return f"{path} {random.choice(['=', '!=', '<', '>=', ':'])} {literal}"

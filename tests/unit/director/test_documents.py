"""What is found wrong with documents, and that nothing in one can harm who looks into it."""

import json
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.director.v1.specification_pb2 import SpecificationFormat

from director.specifications import documents
from director.specifications.documents import (
    ASYNCAPI,
    GRPC_DESCRIPTOR_SET,
    MAX_PROBLEM_BYTES,
    MAX_PROBLEMS,
    ODATA_EDMX,
    OPENAPI,
)
from director.specifications.parsing import MAX_DEPTH, Unparsable, parse

INFO = 'info: {title: t, version: "1"}\n'
GOOD = {
    "swagger": (OPENAPI, f'swagger: "2.0"\n{INFO}paths: {{}}\n'),
    "openapi 3.0": (
        OPENAPI,
        f"openapi: 3.0.3\n{INFO}paths: {{/a: {{get: {{responses: {{200: {{description: d}}}}}}}}}}\n",
    ),
    "openapi 3.1": (OPENAPI, f"openapi: 3.1.0\n{INFO}components: {{schemas: {{a: {{type: [string, 'null']}}}}}}\n"),
    "openapi 3.2": (OPENAPI, f"openapi: 3.2.0\n{INFO}paths: {{/a: {{query: {{responses: {{'200': {{}}}}}}}}}}\n"),
    "openapi with a version like a date": (
        OPENAPI,
        "openapi: 3.0.0\ninfo: {title: t, version: 2020-01-01}\npaths: {}\n",
    ),
    "openapi that refers in circles": (
        OPENAPI,
        f"openapi: 3.0.0\n{INFO}paths: {{}}\n"
        "components: {schemas: {a: {type: object, properties: {a: {$ref: '#/components/schemas/a'}}}}}\n",
    ),
    "openapi in JSON": (OPENAPI, '{"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {}}'),
    "swagger in JSON": (OPENAPI, '{"swagger": "2.0", "info": {"title": "t", "version": "1"}, "paths": {}}'),
    "openapi 3.1 in JSON": (OPENAPI, '{"openapi": "3.1.1", "info": {"title": "t", "version": "1"}, "webhooks": {}}'),
    "asyncapi 2 in JSON": (ASYNCAPI, '{"asyncapi": "2.0.0", "info": {"title": "t", "version": "1"}, "channels": {}}'),
    "asyncapi 3 in JSON": (ASYNCAPI, '{"asyncapi": "3.0.0", "info": {"title": "t", "version": "1"}}'),
    "asyncapi 2": (ASYNCAPI, f"asyncapi: 2.6.0\n{INFO}channels: {{a: {{publish: {{message: {{name: m}}}}}}}}\n"),
    "asyncapi 3": (
        ASYNCAPI,
        f"asyncapi: 3.0.0\n{INFO}channels: {{a: {{address: x, messages: {{m: {{payload: {{}}}}}}}}}}\n"
        "operations: {o: {action: send, channel: {$ref: '#/channels/a'}}}\nx-own: 1\n",
    ),
}
BAD = {
    "no version": (OPENAPI, INFO, "says neither swagger"),
    "a version to come": (OPENAPI, f"openapi: 4.0.0\n{INFO}", "says neither swagger"),
    "3.2's own method in 3.1": (
        OPENAPI,
        f"openapi: 3.1.0\n{INFO}paths: {{/a: {{query: {{responses: {{'200': {{}}}}}}}}}}\n",
        "query",
    ),
    "no info in 3.2": (OPENAPI, "openapi: 3.2.0\npaths: {}\n", "/: 'info' is a required property"),
    "no info": (OPENAPI, "openapi: 3.0.0\npaths: {}\n", "/: 'info' is a required property"),
    "no responses": (OPENAPI, f"openapi: 3.0.0\n{INFO}paths: {{/a: {{get: {{}}}}}}\n", "/paths/~1a/get: 'responses'"),
    "a parameter that is not declared": (
        OPENAPI,
        f"openapi: 3.0.0\n{INFO}paths: {{'/a/{{id}}': {{get: {{responses: {{200: {{description: d}}}}}}}}}}\n",
        "Path parameter 'id'",
    ),
    "another site's schema": (
        OPENAPI,
        f"openapi: 3.0.0\n{INFO}paths: {{/a: {{$ref: 'http://127.0.0.1:1/a'}}}}\n",
        "leads to another document",
    ),
    "a file of the host": (
        OPENAPI,
        f"openapi: 3.0.0\n{INFO}paths: {{/a: {{$ref: 'file:///etc/passwd'}}}}\n",
        "leads to another document",
    ),
    "a reference to nothing": (
        ASYNCAPI,
        f"asyncapi: 3.0.0\n{INFO}operations: {{o: {{action: send, channel: {{$ref: '#/channels/a'}}}}}}\n",
        "leads to nothing",
    ),
    "asyncapi as openapi": (OPENAPI, GOOD["asyncapi 2"][1], "says neither swagger"),
    "openapi as asyncapi": (ASYNCAPI, GOOD["openapi 3.0"][1], "does not say asyncapi"),
    "no channels": (ASYNCAPI, f"asyncapi: 2.0.0\n{INFO}", "'channels' is a required property"),
    "an unknown action": (
        ASYNCAPI,
        f"asyncapi: 3.0.0\n{INFO}channels: {{a: {{}}}}\n"
        "operations: {o: {action: fly, channel: {$ref: '#/channels/a'}}}",
        "/operations/o/action: 'fly'",
    ),
    "a server without a host": (ASYNCAPI, f"asyncapi: 3.0.0\n{INFO}servers: {{s: {{protocol: amqp}}}}\n", "'host'"),
    "a misspelt section": (ASYNCAPI, f"asyncapi: 3.0.0\n{INFO}chanels: {{}}\n", "'chanels'"),
    "nothing": (OPENAPI, "# only a comment\n", "must be an object"),
    "a word": (ASYNCAPI, "hello", "must be an object"),
    "broken JSON": (OPENAPI, '{"openapi": ', "not JSON: Expecting value: line 1 column 13"),
    "broken YAML": (OPENAPI, "a: b: c\n", "not YAML: line 1, column 5"),
    "a control character": (OPENAPI, "a: \0", "not YAML"),
    "a key that stands twice": (OPENAPI, "a: 1\na: 2\n", "the key 'a' stands twice"),
    "two documents": (OPENAPI, "a: 1\n---\nb: 2\n", "more than one YAML document"),
    "an alias of nothing": (OPENAPI, "a: *b\n", "the alias *b"),
    "an alias of what it is in": (OPENAPI, "a: &a [*a]\n", "the alias *a"),
    "a list as a key": (OPENAPI, "? [a]\n: b\n", "a key must be a string"),
    "an alias as a key": (OPENAPI, "a: &x b\n*x : c\n", "a key must be a string"),
    "deep YAML": (OPENAPI, "- " * 100_000, f"deeper than {MAX_DEPTH} levels"),
    "deep YAML in flow style": (OPENAPI, "a: " + "[" * 100_000, f"deeper than {MAX_DEPTH} levels"),
    "deep JSON": (OPENAPI, '{"a":' * 100_000, "nested too deep"),
    "a schema that is only itself": (
        OPENAPI,
        f"openapi: 3.0.0\n{INFO}paths: {{}}\ncomponents: {{schemas: {{a: {{$ref: '#/components/schemas/a'}}}}}}\n",
        "refers to itself",
    ),
}


def problems_of(format: int, content: str) -> list[str]:
    return documents.problems_of(format, content.encode())


@pytest.mark.parametrize("name", GOOD)
def test_a_good_document_has_no_problems(name: str) -> None:
    assert problems_of(*GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_has_the_problem_that_it_has(name: str) -> None:
    format, content, problem = BAD[name]
    found = problems_of(format, content)
    assert any(problem in line for line in found), found


def test_nothing_is_fetched_and_no_file_is_read() -> None:
    documents = [BAD["another site's schema"], BAD["a file of the host"]]
    with mock.patch("urllib.request.urlopen") as fetched, mock.patch("pathlib.Path.open") as opened:
        for format, content, _ in documents:
            problems_of(format, content)
    fetched.assert_not_called()
    opened.assert_not_called()


def test_aliases_that_multiply_are_counted_for_what_they_stand_for() -> None:
    levels = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    levels += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 12)]
    assert problems_of(OPENAPI, "\n".join(levels)) == ["it has more than 1,000,000 values"]


def test_aliases_that_do_not_multiply_are_honoured() -> None:
    assert parse("a: &x {b: [1, 2]}\nc: *x\n") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


@pytest.mark.parametrize("long", ["long", "\N{GRINNING FACE}"])
def test_a_document_has_at_most_so_many_problems_of_so_many_bytes(long: str) -> None:
    paths = {f"/{long * 200}{n}": {"get": 1} for n in range(MAX_PROBLEMS * 2)}
    document = {"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": paths}
    found = problems_of(OPENAPI, json.dumps(document))
    assert len(found) == MAX_PROBLEMS
    assert max(len(line.encode()) for line in found) <= MAX_PROBLEM_BYTES
    assert all(line.endswith("...") and long in line for line in found)


def test_tags_of_yaml_make_no_objects() -> None:
    assert parse("a: !!python/object/apply:os.getcwd []\n") == {"a": []}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ("", None),
        ("yes", "yes"),
        ("2020-01-01", "2020-01-01"),
        ("0x1f", "0x1f"),
        ("1:30", "1:30"),
        ("'1'", "1"),
        (".nan", ".nan"),
        ("9" * 1000, "9" * 1000),
    ],
)
def test_a_scalar_is_what_the_core_schema_of_yaml_1_2_says(text: str, value: object) -> None:
    assert parse(f"a: {text}\n") == {"a": value}


def test_keys_are_always_strings() -> None:
    assert parse("200: a\ntrue: b\n") == {"200": "a", "true": "b"}


def test_half_a_character_in_a_document_does_not_spoil_the_problems() -> None:
    document = '{"openapi": "3.0.0", "a": {"$ref": "\\ud800"}}'
    for line in problems_of(OPENAPI, document):
        line.encode()


def test_the_formats_are_those_of_the_contract() -> None:
    assert SpecificationFormat.Value("SPECIFICATION_FORMAT_OPENAPI") == OPENAPI
    assert SpecificationFormat.Value("SPECIFICATION_FORMAT_ASYNCAPI") == ASYNCAPI
    assert SpecificationFormat.Value("SPECIFICATION_FORMAT_ODATA_EDMX") == ODATA_EDMX
    assert SpecificationFormat.Value("SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET") == GRPC_DESCRIPTOR_SET


@pytest.mark.parametrize("format", [OPENAPI, ASYNCAPI, ODATA_EDMX])
def test_text_that_is_not_utf_8_says_where(format: int) -> None:
    assert documents.problems_of(format, b"a: \xff") == ["it is not UTF-8: byte 4"]


def test_a_format_that_does_not_exist_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no such format"):
        documents.problems_of(0, b"")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_json_is_parsed_as_json(document: object) -> None:
    assert parse(json.dumps(document)) == document


@settings(deadline=None)
@given(st.sampled_from([OPENAPI, ASYNCAPI, ODATA_EDMX]), st.text())
def test_no_text_raises_anything_but_a_problem(format: int, text: str) -> None:
    assert all(isinstance(line, str) for line in problems_of(format, text))


@settings(deadline=None)
@given(st.sampled_from([OPENAPI, ASYNCAPI, ODATA_EDMX, GRPC_DESCRIPTOR_SET]), st.binary())
def test_no_bytes_raise_anything_but_a_problem(format: int, content: bytes) -> None:
    assert documents.problems_of(format, content)


SECTIONS = ("info", "paths", "components", "servers", "tags", "channels", "operations", "security", "definitions")


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([(OPENAPI, "openapi", "3.0.0"), (OPENAPI, "openapi", "3.1.0"), (OPENAPI, "swagger", "2.0")])
    | st.sampled_from([(ASYNCAPI, "asyncapi", "2.0.0"), (ASYNCAPI, "asyncapi", "3.0.0")]),
    st.dictionaries(st.sampled_from(SECTIONS), JSON),
)
def test_no_document_raises_anything_but_a_problem(kind: tuple[int, str, str], sections: dict[str, object]) -> None:
    format, field, version = kind
    assert isinstance(problems_of(format, json.dumps({field: version, **sections})), list)


def test_what_cannot_be_parsed_says_where() -> None:
    with pytest.raises(Unparsable, match="line 3, column 1"):
        parse("a: 1\nb: [\n")

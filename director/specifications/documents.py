"""What is wrong with a document, as lines for its author. Pure computation: nothing is fetched and no file is read.

This module and those it uses run in the inspecting child process, so they import neither gRPC nor SQL.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from director.specifications import asyncapi, descriptor_set, edmx, openapi
from director.specifications.parsing import Unparsable, parse
from director.specifications.references import broken_references

MAX_PROBLEMS = 20
"""How many problems are told at most."""

MAX_PROBLEM_BYTES = 300
"""Bytes of one problem in UTF-8; what is longer is cut. A page of a list holds the problems of a thousand documents."""

OPENAPI, ASYNCAPI, ODATA_EDMX, GRPC_DESCRIPTOR_SET = (
    1,
    2,
    3,
    4,
)  # as moorage.director.v1.SpecificationFormat numbers them

BINARY = frozenset({GRPC_DESCRIPTOR_SET})
"""The formats that are not text; what is of another one must be UTF-8."""


def problems_of(format: int, content: bytes) -> list[str]:
    """Up to 20 lines that say what is wrong with `content`, none where it is a good document of the format.

    A document that cannot be looked into, whatever the cause, is a document with a problem: this never raises, save
    `ValueError` for a format that does not exist.
    """
    if format not in _CHECKS:
        raise ValueError(f"no such format: {format}")
    try:
        found = list(islice(_problems(format, content), MAX_PROBLEMS))
    except Unparsable as error:
        found = [str(error)]
    except RecursionError:
        found = ["it is nested too deep to be checked, or refers to itself"]
    except MemoryError:
        found = ["it takes too much memory to be checked"]
    except Exception as error:  # the parsers' own, for shapes they do not foresee
        found = [f"it could not be checked: {type(error).__name__}: {error}"]
    return [_line(each) for each in found]


def _problems(format: int, content: bytes) -> Iterator[str]:
    if format not in BINARY:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise Unparsable(f"it is not UTF-8: byte {error.start + 1}") from None
    return _CHECKS[format](content)


def _object(check: Callable[[dict[str, Any]], Iterator[str]]) -> Callable[[bytes], Iterator[str]]:
    """The check of a document in JSON or YAML, by the check of what it says."""

    def problems(content: bytes) -> Iterator[str]:
        document = parse(content.decode())
        if not isinstance(document, dict):
            yield "it must be an object"
            return
        broken = list(islice(broken_references(document), MAX_PROBLEMS))
        yield from broken
        # The parsers follow references; a broken one would stop them half way.
        yield from () if broken else check(document)

    return problems


def _line(text: str) -> str:
    # JSON can spell half a character, which is no text that a message could carry.
    line = " ".join(text.encode(errors="replace").decode().split()).encode()
    whole = len(line) <= MAX_PROBLEM_BYTES
    return line.decode() if whole else line[: MAX_PROBLEM_BYTES - 3].decode(errors="ignore") + "..."


_CHECKS = {
    OPENAPI: _object(openapi.problems),
    ASYNCAPI: _object(asyncapi.problems),
    ODATA_EDMX: edmx.problems,
    GRPC_DESCRIPTOR_SET: descriptor_set.problems,
}

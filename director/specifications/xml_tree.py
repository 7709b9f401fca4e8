"""XML text to elements, with nothing of XML that reaches out of the document or makes it larger than it is.

A document type declaration is refused, and with it every entity that a document could define or name.
"""

from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from director.specifications.parsing import MAX_DEPTH, MAX_NODES, Unparsable

_BETWEEN = " "  # between namespace and name: no namespace of a parsed document has one


@dataclass(slots=True)
class Element:
    """An element, without its text."""

    namespace: str
    """Its namespace's URI; empty where it has none."""

    name: str
    """Its local name."""

    attributes: dict[str, str]
    """By local name; only those without a namespace, which are the ones that belong to the element's own language."""

    line: int
    """Where it begins, from 1."""

    children: list["Element"] = field(default_factory=list)
    """The elements in it, in order."""


def parse_xml(content: bytes) -> Element:
    """The root of an XML document in UTF-8, whatever encoding it says; raises `Unparsable`."""
    builder = _Builder()
    try:
        builder.parser.Parse(content, True)
    except expat.ExpatError as error:
        why = expat.ErrorString(error.code)
        raise Unparsable(f"it is not XML: line {error.lineno}, column {error.offset + 1}: {why}") from None
    assert builder.root is not None  # noqa: S101 - expat accepts no document without one
    return builder.root


class _Builder:
    """Makes elements out of what expat reads."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._nodes = 0
        self.parser = expat.ParserCreate("utf-8", _BETWEEN)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = _refuse_doctype

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._nodes += 1 + len(attributes)
        if self._nodes > MAX_NODES:
            raise Unparsable(f"it has more than {MAX_NODES:,} elements and attributes")
        if len(self._open) >= MAX_DEPTH:
            raise Unparsable(f"it is nested deeper than {MAX_DEPTH} levels")
        namespace, _, local = name.rpartition(_BETWEEN)
        own = {key: value for key, value in attributes.items() if _BETWEEN not in key}
        element = Element(namespace, local, own, self.parser.CurrentLineNumber)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        self._open.pop()


def _refuse_doctype(*_: object) -> NoReturn:
    raise Unparsable("it has a document type declaration, and such are not read")

r"""The filter language of AIP-160, from text to a tree. What names and values mean is for `conditions` to say.

The grammar is that of https://google.aip.dev/assets/misc/ebnf-filtering.txt, with these decisions: a sequence (`a b`)
is an AND; there are no functions; a time may stand without quotation marks; `\` within quotation marks takes the
special meaning of the character behind it; `*` stands for any text at the start or the end of a value only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from moorage.errors.v1.errors_pb2 import Reason

from director.search.tree import Not, Tree, all_of, any_of
from mesh.errors import Refusal

LONGEST = 4096
"""Characters of a filter."""

DEEPEST = 32
"""Parentheses within one another."""

MOST_TERMS = 100
"""Restrictions and bare values in one filter."""


@dataclass(frozen=True)
class Literal:
    """A value as it was written: `open_start` and `open_end` say that any text may come before or after `text`."""

    text: str
    position: int
    open_start: bool = False
    open_end: bool = False

    @property
    def is_anything(self) -> bool:
        """Whether it is a lone `*`."""
        return not self.text and (self.open_start or self.open_end)


@dataclass(frozen=True)
class Word:
    """A bare value, to be looked for in what is meant for people."""

    literal: Literal


@dataclass(frozen=True)
class Restriction:
    """A field, by the names that lead to it; how it is compared (`=`, `!=`, `<`, `<=`, `>`, `>=`, `:`); with what."""

    path: tuple[str, ...]
    comparator: str
    argument: Literal
    position: int


Filter = Tree[Word | Restriction]


def parse(text: str) -> Filter | None:
    """The tree of a filter, None for an empty one; raises `Refusal` (FILTER_INVALID)."""
    if len(text) > LONGEST:
        raise refusal(LONGEST, f"a filter has at most {LONGEST} characters")
    return _Parser(list(_tokens(text)), len(text)).filter()


def refusal(position: int, message: str) -> Refusal:
    """The refusal of a filter for what stands at `position`, counted from 0; users count from 1."""
    return Refusal(Reason.REASON_FILTER_INVALID, f"filter, character {position + 1}: {message}", field="filter")


class _Token(NamedTuple):
    kind: str
    text: str
    position: int
    spaced: bool
    """Whether there is white space before it."""


_KEYWORDS = ("AND", "OR", "NOT")
_ANY = "\0"
"""A `*` that stands for any text, while a value is put together. No filter has this character itself."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<time>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d))
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<comparator><=|>=|!=|[=<>:])
    | (?P<mark>[().,-])
    | (?P<text>[^\s.,()<>=!:"'-][^\s.,()<>=!:"']*)
    """,
    re.VERBOSE | re.DOTALL,
)
_NEGATIVE = re.compile(r"""(?P<text>-[^\s.,()<>=!:"']+)""")


def _tokens(text: str) -> Iterator[_Token]:
    position, spaced, after_comparator = 0, True, False
    while position < len(text):
        # A minus begins a value behind a comparator, and negates a term elsewhere.
        match = (after_comparator and _NEGATIVE.match(text, position)) or _TOKEN.match(text, position)
        if match is None or _ANY in match.group():
            is_open = text[position] in "\"'"
            raise refusal(position, f"{text[position]!r} {'has no end' if is_open else 'means nothing here'}")
        kind = str(match.lastgroup)
        if kind != "space":
            yield _Token(match.group() if kind == "mark" else kind, match.group(), position, spaced)
            after_comparator = kind == "comparator"
        spaced = kind == "space"
        position = match.end()


class _Subject(NamedTuple):
    """The field and the comparator that the values in parentheses are for: `state = (READY OR FAILED)`."""

    path: tuple[str, ...]
    comparator: str
    position: int


class _Parser:
    """Reads one filter, a method for each rule of the grammar."""

    def __init__(self, tokens: list[_Token], length: int) -> None:
        self._tokens = tokens
        self._end = _Token("end", "", length, True)
        self._next = 0
        self._terms = 0
        self._depth = 0

    def filter(self) -> Filter | None:
        if self._peek().kind == "end":
            return None
        expression = self._expression(None)
        if self._peek().kind != "end":
            raise self._expected("a term, AND, OR or the end")
        return expression

    def _expression(self, subject: _Subject | None) -> Filter:
        parts = [self._sequence(subject)]
        while self._takes("AND"):
            parts.append(self._sequence(subject))
        return all_of(parts)

    def _sequence(self, subject: _Subject | None) -> Filter:
        parts = [self._factor(subject)]
        while (token := self._peek()).kind not in ("end", ")", ",") and token.text not in ("AND", "OR"):
            if not token.spaced and token.kind != "(" and self._tokens[self._next - 1].kind != ")":
                raise self._expected("white space between two terms, or quotation marks around one")
            parts.append(self._factor(subject))
        return all_of(parts)

    def _factor(self, subject: _Subject | None) -> Filter:
        parts = [self._term(subject)]
        while self._takes("OR"):
            parts.append(self._term(subject))
        return any_of(parts)

    def _term(self, subject: _Subject | None) -> Filter:
        if self._takes("NOT") or self._takes("-"):
            return Not(self._simple(subject))
        return self._simple(subject)

    def _simple(self, subject: _Subject | None) -> Filter:
        if self._peek().kind == "(":
            return self._composite(subject)
        return self._restriction(subject)

    def _composite(self, subject: _Subject | None) -> Filter:
        self._depth += 1
        if self._depth > DEEPEST:
            raise refusal(self._peek().position, f"a filter has at most {DEEPEST} parentheses within one another")
        self._next += 1
        expression = self._expression(subject)
        if not self._takes(")"):
            raise self._expected("a term, AND, OR or )")
        self._depth -= 1
        return expression

    def _restriction(self, subject: _Subject | None) -> Filter:
        member = self._member()
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise refusal(member[0].position, f"a filter has at most {MOST_TERMS} terms")
        token = self._peek()
        if subject is not None:
            if token.kind == "comparator":
                raise self._expected("a value alone, for the field is named before the parentheses")
            return Restriction(subject.path, subject.comparator, _literal(member), subject.position)
        if token.kind != "comparator":
            return Word(_literal(member))
        self._next += 1
        compared = _Subject(_path(member), token.text, member[0].position)
        if self._peek().kind == "(":
            return self._composite(compared)
        return Restriction(compared.path, compared.comparator, _literal(self._member()), compared.position)

    def _member(self) -> list[_Token]:
        """One value, or several with dots between."""
        if self._peek().text in _KEYWORDS and self._peek().kind == "text":
            raise self._expected("a value, which has quotation marks where it is a keyword")
        parts = [self._value()]
        while self._peek().kind == "." and not self._peek().spaced:
            self._next += 1
            if self._peek().spaced:
                raise self._expected("a name right after the dot")
            parts.append(self._value())
        if self._peek().kind == "(" and not self._peek().spaced:
            raise refusal(parts[0].position, f"there is no function {parts[-1].text[:40]}")
        return parts

    def _value(self) -> _Token:
        token = self._peek()
        if token.kind not in ("text", "string", "time"):
            raise self._expected("a value")
        self._next += 1
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else self._end

    def _takes(self, text: str) -> bool:
        """Go beyond the next token where it is this keyword or mark."""
        token = self._peek()
        if token.text != text or token.kind in ("string", "time"):
            return False
        self._next += 1
        return True

    def _expected(self, what: str) -> Refusal:
        token = self._peek()
        return refusal(token.position, f"expected {what}, not {token.text[:40] or 'the end'}")


def _path(member: list[_Token]) -> tuple[str, ...]:
    names = tuple(_unescaped(token) for token in member)
    for token, name in zip(member, names, strict=True):
        if _ANY in name:
            raise refusal(token.position, "the name of a field has no * in it")
    return names


def _literal(member: list[_Token]) -> Literal:
    text = ".".join(_unescaped(token) for token in member)
    closed = text.removeprefix(_ANY)
    core = closed.removesuffix(_ANY)
    if _ANY in core:
        raise refusal(member[0].position, 'a * is at the start or the end of a value; "\\*" is the character itself')
    return Literal(core, member[0].position, len(closed) < len(text), len(core) < len(closed))


def _unescaped(token: _Token) -> str:
    if token.kind != "string":
        return token.text.replace("*", _ANY)
    return re.sub(r"\\(.)|\*", lambda match: match.group(1) or _ANY, token.text[1:-1], flags=re.DOTALL)

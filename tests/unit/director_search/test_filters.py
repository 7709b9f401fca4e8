"""The filter language: what a filter says, and what is no filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from director.search.conditions import resolve
from director.search.filters import DEEPEST, LONGEST, MOST_TERMS, Filter, Literal, Restriction, Word, parse
from director.search.tree import All, AnyOf, Not
from tests.unit.director.refused import refused
from tests.unit.director_search.rows import RUNTIME_FIELDS, refusal_of


def shown(filter: Filter | None) -> str:
    """A tree as text, with parentheses around each operation."""
    if isinstance(filter, Not):
        return f"!{shown(filter.part)}"
    if isinstance(filter, All | AnyOf):
        return "(" + ("&" if isinstance(filter, All) else "|").join(map(shown, filter.parts)) + ")"
    if isinstance(filter, Word):
        return value(filter.literal)
    if isinstance(filter, Restriction):
        return f"{'/'.join(filter.path)}{filter.comparator}{value(filter.argument)}"
    return "everything"


def value(literal: Literal) -> str:
    return f"[{'..' * literal.open_start}{literal.text}{'..' * literal.open_end}]"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", "everything"),
        ("  \t\n", "everything"),
        ("hugo", "[hugo]"),
        ("42", "[42]"),
        ("v1.2.3", "[v1.2.3]"),
        ("Victor Hugo", "([Victor]&[Hugo])"),
        ("a b AND c AND d", "(([a]&[b])&[c]&[d])"),
        ("a AND b OR c", "([a]&([b]|[c]))"),
        ("a OR b AND c", "(([a]|[b])&[c])"),
        ("New York Giants OR Yankees", "([New]&[York]&([Giants]|[Yankees]))"),
        ("NOT a", "![a]"),
        ("NOT (a OR b)", "!([a]|[b])"),
        ("NOT(a)", "![a]"),
        ("-a -b", "(![a]&![b])"),
        ("-30", "![30]"),
        ("a-b", "[a-b]"),
        ("android ORchid NOTe", "([android]&[ORchid]&[NOTe])"),
        ('"AND" "OR"', "([AND]&[OR])"),
        ("(a)(b)", "([a]&[b])"),
        ("((a))", "[a]"),
        ("x = 1", "x=[1]"),
        ("x=-30", "x=[-30]"),
        ("x != -1.5", "x!=[-1.5]"),
        ("x<=1 y>=2", "(x<=[1]&y>=[2])"),
        ("x = com.google", "x=[com.google]"),
        ("a.b.c : d", "a/b/c:[d]"),
        ("labels.NOT = x", "labels/NOT=[x]"),
        ('labels."example.com/team" = core', "labels/example.com/team=[core]"),
        ("labels:env", "labels:[env]"),
        ("labels.env:*", "labels/env:[..]"),
        ("x = *.foo", "x=[...foo]"),
        ('x = "foo*"', "x=[foo..]"),
        ("x = '*foo*'", "x=[..foo..]"),
        (r'x = "foo\*"', "x=[foo*]"),
        (r'x = "say \"hi\" \\ there"', 'x=[say "hi" \\ there]'),
        ("x = 'it\"s'", 'x=[it"s]'),
        ('x = ""', "x=[]"),
        ("t > 2026-01-31T10:00:00Z", "t>[2026-01-31T10:00:00Z]"),
        ("t<2026-01-31T10:00:00.5-04:00 a", "(t<[2026-01-31T10:00:00.5-04:00]&[a])"),
        ("s = (READY OR FAILED)", "(s=[READY]|s=[FAILED])"),
        ("s: (a -b) AND c", "((s:[a]&!s:[b])&[c])"),
    ],
)
def test_a_filter_says(text: str, meaning: str) -> None:
    assert shown(parse(text)) == meaning


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("a OR", 5, "expected a value, not the end"),
        ("OR a", 1, "expected a value, which has quotation marks where it is a keyword"),
        ("a AND OR b", 7, "keyword"),
        ("NOT NOT a", 5, "keyword"),
        ("x = AND", 5, "keyword"),
        ("x =", 4, "expected a value, not the end"),
        ("= x", 1, "expected a value, not ="),
        ("x = = y", 5, "expected a value, not ="),
        ("x = y = z", 7, "expected a value, not ="),
        ("(a", 3, "expected a term, AND, OR or ), not the end"),
        ("a)", 2, "expected a term, AND, OR or the end, not )"),
        ("()", 2, "expected a value, not )"),
        ('name = "x', 8, "'\"' has no end"),
        ('"a"b', 4, "expected white space"),
        ("a!b", 2, "'!' means nothing here"),
        ("a, b", 2, "not ,"),
        ("a.", 3, "expected a name right after the dot, not the end"),
        ("a. b", 4, "expected a name right after the dot"),
        ("cohort(request.user)", 1, "there is no function cohort"),
        ("x = math.mem('30mb')", 5, "there is no function mem"),
        ("x* = 1", 1, "the name of a field has no *"),
        ('x = "a*b"', 5, "at the start or the end of a value"),
        ("s = (a OR x = b)", 13, "expected a value alone"),
        ("a\0b", 1, "means nothing here"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(text: str, position: int, said: str) -> None:
    with refused("FILTER_INVALID", "filter") as caught:
        parse(text)
    assert caught.message.startswith(f"filter, character {position}: ")
    assert said in caught.message


def test_a_filter_is_not_too_long() -> None:
    assert parse("a" * LONGEST) is not None
    with refused("FILTER_INVALID", "filter"):
        parse("a" * (LONGEST + 1))


def test_a_filter_is_not_too_deep() -> None:
    assert shown(parse("(" * DEEPEST + "a" + ")" * DEEPEST)) == "[a]"
    with refused("FILTER_INVALID", "filter"):
        parse("(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1))


def test_parentheses_beside_one_another_are_not_deep() -> None:
    assert parse(" OR ".join(["(a)"] * MOST_TERMS)) is not None


def test_a_filter_has_not_too_many_terms() -> None:
    assert parse(" ".join(["a"] * MOST_TERMS)) is not None
    with refused("FILTER_INVALID", "filter"):
        parse(" ".join(["a"] * (MOST_TERMS + 1)))
    with refused("FILTER_INVALID", "filter"):
        parse("x = (" + " OR ".join(["a"] * (MOST_TERMS + 1)) + ")")


SCRAPS = st.lists(
    st.one_of(
        st.sampled_from(
            ["AND", "OR", "NOT", "-", "(", ")", "=", "!=", "<", ">=", ":", ".", ",", "*", '"', "'", "\\", " "]
        ),
        st.sampled_from(["name", "labels", "state", "status.revision", "create_time", "READY", "2026-01-01T00:00:00Z"]),
        st.text(max_size=5),
    ),
    max_size=20,
).map("".join)


@given(st.one_of(SCRAPS, st.text(max_size=60)))
def test_any_text_is_a_filter_or_is_refused_as_one(text: str) -> None:
    def read() -> None:
        filter = parse(text)
        if filter is not None:
            resolve(filter, RUNTIME_FIELDS)

    refusal = refusal_of(read)
    assert refusal is None or (refusal.name, refusal.violations[0].field) == ("FILTER_INVALID", "filter")

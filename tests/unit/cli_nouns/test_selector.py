"""Selectors in the text form of Kubernetes: read, written back, and refused where they are none."""

import click
import pytest
from moorage.director.v1.label_pb2 import (
    LABEL_OPERATOR_DOES_NOT_EXIST,
    LABEL_OPERATOR_EXISTS,
    LABEL_OPERATOR_IN,
    LABEL_OPERATOR_NOT_IN,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
)

from cli import selector
from cli.selector import Selector


def read(text: str) -> LabelSelector | None:
    return selector.message(Selector().convert(text, None, None))


def requirement(key: str, operator: LabelOperator.ValueType, *values: str) -> LabelSelector:
    return LabelSelector(match_expressions=[LabelRequirement(key=key, operator=operator, values=values)])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("env=prod", LabelSelector(match_labels={"env": "prod"})),
        ("env == prod", LabelSelector(match_labels={"env": "prod"})),
        ("env=", LabelSelector(match_labels={"env": ""})),
        (
            "moorage.example/tier=web,env=prod",
            LabelSelector(match_labels={"moorage.example/tier": "web", "env": "prod"}),
        ),
        ("env!=prod", requirement("env", LABEL_OPERATOR_NOT_IN, "prod")),
        ("tier in (a,b)", requirement("tier", LABEL_OPERATOR_IN, "a", "b")),
        ("tier in ( a , b , a )", requirement("tier", LABEL_OPERATOR_IN, "a", "b")),
        ("tier notin (a)", requirement("tier", LABEL_OPERATOR_NOT_IN, "a")),
        ("tier in (,a)", requirement("tier", LABEL_OPERATOR_IN, "", "a")),
        ("owner", requirement("owner", LABEL_OPERATOR_EXISTS)),
        (" !owner ", requirement("owner", LABEL_OPERATOR_DOES_NOT_EXIST)),
        ("in in (in)", requirement("in", LABEL_OPERATOR_IN, "in")),
        ("", None),
        ("  ", None),
    ],
)
def test_a_selector_is_read_as_kubernetes_reads_it(text: str, meant: LabelSelector | None) -> None:
    assert read(text) == meant


def test_two_values_for_one_label_are_both_asked_for() -> None:
    both = requirement("env", LABEL_OPERATOR_IN, "test")
    both.match_labels["env"] = "prod"
    assert read("env=prod,env=test") == both


@pytest.mark.parametrize("text", ["env=prod,tier in (a,b),!legacy,owner,zone notin (x)", "a=,b=1"])
def test_what_is_written_is_what_was_read(text: str) -> None:
    read_back = read(text)
    assert read_back is not None
    written = selector.text(read_back)
    assert read(written) == read_back
    assert sorted(written) == sorted(text)


@pytest.mark.parametrize(
    "text",
    [
        *("=prod", "env=prod,", ",env=prod", "env=prod,,a", "!", "-a", "!env=prod"),
        *("env in", "env in ()x", "env in (a", "env in a", "env in (a;b)", "env prod", "env>1", "env=a b", "a=b;c"),
    ],
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no selector"):
        Selector().convert(text, None, None)


def test_an_operator_of_a_later_version_is_shown_by_its_number() -> None:
    later = LabelSelector.FromString(LabelSelector(match_expressions=[LabelRequirement(key="env")]).SerializeToString())
    later.match_expressions[0].MergeFromString(b"\x10\x63")
    assert selector.text(later) == "env ?99 ()"

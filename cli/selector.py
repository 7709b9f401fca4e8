"""Label selectors in the text form of Kubernetes: `env=prod,tier in (web,api),!legacy,owner`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

if TYPE_CHECKING:
    from moorage.director.v1.label_pb2 import LabelOperator, LabelSelector

Operator: TypeAlias = Literal["=", "in", "notin", "exists", "!"]


@dataclass(frozen=True)
class Requirement:
    """One condition upon one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    """One for `=`; those of `in` and `notin`, each once; none for the rest."""


class Selector(click.ParamType[tuple[Requirement, ...]]):
    """Requirements that a label selector has; none for an empty text."""

    name = "selector"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Requirement, ...]:
        """Read it; fails as click's types do."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(_requirements(str(value)))
        except ValueError as error:
            self.fail(
                f"'{value}' is no selector: {error}. Write it like env=prod,tier in (web,api),!legacy,owner.",
                param,
                ctx,
            )


def message(requirements: Sequence[Requirement]) -> "LabelSelector | None":
    """The selector as the contract has it; None for no requirements."""
    from moorage.director.v1.label_pb2 import LabelRequirement, LabelSelector

    selector = LabelSelector()
    for each in requirements:
        if each.operator == "=" and each.key not in selector.match_labels:
            selector.match_labels[each.key] = each.values[0]
        else:
            operator = _operators()[each.operator]
            selector.match_expressions.append(LabelRequirement(key=each.key, operator=operator, values=each.values))
    return selector if requirements else None


def text(selector: "LabelSelector") -> str:
    """The selector as it is written on the command line."""
    from moorage.director.v1.label_pb2 import (
        LABEL_OPERATOR_DOES_NOT_EXIST,
        LABEL_OPERATOR_EXISTS,
        LABEL_OPERATOR_IN,
        LABEL_OPERATOR_NOT_IN,
    )

    written = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for each in selector.match_expressions:
        values = ",".join(each.values)
        forms = {
            LABEL_OPERATOR_IN: f"{each.key} in ({values})",
            LABEL_OPERATOR_NOT_IN: f"{each.key} notin ({values})",
            LABEL_OPERATOR_EXISTS: each.key,
            LABEL_OPERATOR_DOES_NOT_EXIST: f"!{each.key}",
        }
        # An operator that this version does not know is shown by its number.
        written.append(forms.get(each.operator, f"{each.key} ?{each.operator:d} ({values})"))
    return ",".join(written)


_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_VALUE = r"[A-Za-z0-9._-]*"
_REQUIREMENT = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<equality>==?|!=)\s*(?P<value>{_VALUE})"
    rf"|\s+(?P<set>in|notin)\s*\((?P<values>\s*{_VALUE}\s*(?:,\s*{_VALUE}\s*)*)\))?)\s*"
)


def _requirements(text: str) -> Iterator[Requirement]:
    position = 0
    while text.strip():
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise ValueError(f"there is no requirement at '{text[position:]}'")
        yield _requirement(match)
        position = match.end()
        if position == len(text):
            return
        if text[position] != ",":
            raise ValueError(f"'{text[position:]}' is no comma")
        position += 1
        if not text[position:].strip():
            raise ValueError("nothing comes after the last comma")


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(match["absent"], "!")
    if match["equality"] == "!=":
        return Requirement(match["key"], "notin", (match["value"],))
    if match["equality"]:
        return Requirement(match["key"], "=", (match["value"],))
    if match["set"]:
        values = dict.fromkeys(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], "in" if match["set"] == "in" else "notin", tuple(values))
    return Requirement(match["key"], "exists")


def _operators() -> "dict[Operator, LabelOperator.ValueType]":
    from moorage.director.v1.label_pb2 import (
        LABEL_OPERATOR_DOES_NOT_EXIST,
        LABEL_OPERATOR_EXISTS,
        LABEL_OPERATOR_IN,
        LABEL_OPERATOR_NOT_IN,
    )

    return {
        "=": LABEL_OPERATOR_IN,
        "in": LABEL_OPERATOR_IN,
        "notin": LABEL_OPERATOR_NOT_IN,
        "exists": LABEL_OPERATOR_EXISTS,
        "!": LABEL_OPERATOR_DOES_NOT_EXIST,
    }

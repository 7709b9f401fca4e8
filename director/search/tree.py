"""What AND, OR and NOT make of conditions of any kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, Union

Leaf = TypeVar("Leaf")


@dataclass(frozen=True)
class Not(Generic[Leaf]):
    """Holds where `part` does not."""

    part: "Tree[Leaf]"


@dataclass(frozen=True)
class All(Generic[Leaf]):
    """Holds where each of two or more `parts` does."""

    parts: tuple["Tree[Leaf]", ...]


@dataclass(frozen=True)
class AnyOf(Generic[Leaf]):
    """Holds where at least one of two or more `parts` does."""

    parts: tuple["Tree[Leaf]", ...]


Tree = Union[Leaf, Not[Leaf], All[Leaf], AnyOf[Leaf]]  # noqa: UP007 - `|` of a type variable is no alias to subscript
"""A condition of one kind, or several of them put together."""


def all_of(parts: Sequence[Tree[Leaf]]) -> Tree[Leaf]:
    """`parts`, all of them; at least one."""
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def any_of(parts: Sequence[Tree[Leaf]]) -> Tree[Leaf]:
    """`parts`, any of them; at least one."""
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

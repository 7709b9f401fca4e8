"""Selectors of groups: labels that pull Applications and Runtimes in, present and future ones (as in Kubernetes).

A selector is looked at when it changes, over all that have labels, and when labels change, over the groups that those
labels may concern.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.director.v1.label_pb2 import LabelOperator, LabelRequirement, LabelSelector

from director.changes import Kind, Mutation
from director.memberships import deselect_members, select_members
from director.store import Transaction
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES, Memberships, Pair
from director.store.selectors import ANY_KEY, SELECTED_APPLICATIONS, SELECTED_RUNTIMES, Anchor, Selecting


@dataclass(frozen=True)
class _Side:
    """The selectors for one kind of member, and its memberships."""

    selecting: Selecting
    memberships: Memberships


SIDES = {
    Kind.APPLICATION: _Side(SELECTED_APPLICATIONS, GROUP_APPLICATIONS),
    Kind.RUNTIME: _Side(SELECTED_RUNTIMES, GROUP_RUNTIMES),
}


def place(tx: Transaction, mutation: Mutation, member_kind: Kind, id: str, labels: Mapping[str, str]) -> None:
    """Have a new Application or Runtime be in the groups whose selectors it fits."""
    side = SIDES[member_kind]
    selectors = side.selecting.selectors_of(tx, side.selecting.candidates(tx, labels))
    fitting = sorted(group_id for group_id, selector in selectors.items() if fits(selector, labels))
    select_members(tx, mutation, side.memberships, [(group_id, id) for group_id in fitting])


def relabelled(tx: Transaction, mutation: Mutation, member_kind: Kind, id: str, labels: Mapping[str, str]) -> None:
    """Have an Application or Runtime, which has these labels now, be in the groups whose selectors it fits."""
    side = SIDES[member_kind]
    selected_by = set(side.memberships.selected_by(tx, id))
    selectors = side.selecting.selectors_of(tx, selected_by | side.selecting.candidates(tx, labels))
    fitting = {group_id for group_id, selector in selectors.items() if fits(selector, labels)}
    select_members(tx, mutation, side.memberships, [(group_id, id) for group_id in sorted(fitting - selected_by)])
    deselect_members(tx, mutation, side.memberships, [(group_id, id) for group_id in sorted(selected_by - fitting)])


def reselect(
    tx: Transaction, mutation: Mutation, group_id: str, selectors: Mapping[Kind, LabelSelector | None]
) -> None:
    """Have a group select those who fit the selectors that it has now, by kind of member, and nobody else.

    Who goes, goes before anybody comes, of either kind: those who never met are not told of one another.
    """
    coming: list[tuple[Memberships, list[Pair]]] = []
    for member_kind, selector in selectors.items():
        side = SIDES[member_kind]
        side.selecting.set_anchor(tx, group_id, anchor_of(selector) if selector is not None else None)
        before = set(side.memberships.selected_in(tx, group_id))
        fitting = side.selecting.matching(tx, selector) if selector is not None else set()
        coming.append((side.memberships, [(group_id, id) for id in sorted(fitting - before)]))
        deselect_members(tx, mutation, side.memberships, [(group_id, id) for id in sorted(before - fitting)])
    for memberships, pairs in coming:
        select_members(tx, mutation, memberships, pairs)


def fits(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether one who has these labels fits the selector: all that it asks for holds."""
    pairs = selector.match_labels.items()
    return all(labels.get(key) == value for key, value in pairs) and all(
        _meets(each, labels) for each in selector.match_expressions
    )


def anchor_of(selector: LabelSelector) -> Anchor:
    """A label without which nothing fits the selector: the narrowest that it asks for."""
    for key, value in sorted(selector.match_labels.items()):
        return Anchor(key, value)
    asked = [each for each in selector.match_expressions if each.operator in _POSITIVE]
    for each in asked:
        if len(each.values) == 1:
            return Anchor(each.key, each.values[0])
    return Anchor(asked[0].key if asked else ANY_KEY, None)


def _meets(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    has = value is not None and (not requirement.values or value in requirement.values)
    return has == (requirement.operator in _POSITIVE)


_POSITIVE = frozenset({LabelOperator.LABEL_OPERATOR_IN, LabelOperator.LABEL_OPERATOR_EXISTS})

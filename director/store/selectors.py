"""Queries upon the selectors of groups: whom one selects, and which groups might select somebody."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from moorage.director.v1.label_pb2 import LabelOperator, LabelRequirement, LabelSelector
from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, delete, insert, select, union_all

from director.store.labels import APPLICATION_LABELS, RUNTIME_LABELS, LabelIndex
from director.store.tables import groups, selector_anchors

ANY_KEY = ""
"""The anchor's key of a selector that no single label decides."""


class Anchor(NamedTuple):
    """A label without which nothing fits a selector. `value` is None where any will do."""

    key: str
    value: str | None


class Selecting:
    """The selectors of groups for one kind of member."""

    def __init__(self, member_kind: str, column: str, labels: LabelIndex) -> None:
        self.member_kind = member_kind
        self.column = column
        """The column of `groups` that holds them."""
        self._labels = labels
        self._id = labels.holders.table.c[labels.holders.key]
        anchors = selector_anchors.c
        mine = anchors.member_kind == member_kind
        self._delete = delete(selector_anchors).where(mine, anchors.group_id == bindparam("of_group"))
        known = select(anchors.group_id, anchors.key, anchors.value).where(mine)
        of_keys = known.where(anchors.key.in_(_KEYS))
        # Three searches of the index: SQLite would read all of it for one that may find any of this.
        self._candidates = union_all(
            known.where(anchors.key == ANY_KEY),
            of_keys.where(anchors.value.is_(None)),
            of_keys.where(anchors.value.in_(_VALUES)),
        )
        self._selectors = select(groups.c.group_id, groups.c[column]).where(groups.c.group_id.in_(_IDS))

    def set_anchor(self, tx: Connection, group_id: str, anchor: Anchor | None) -> None:
        """Keep the anchor of a group's selector, or none."""
        tx.execute(self._delete, {"of_group": group_id})
        if anchor is not None:
            values = {"group_id": group_id, "member_kind": self.member_kind, **anchor._asdict()}
            tx.execute(_INSERT, values)

    def candidates(self, tx: Connection, labels: Mapping[str, str]) -> set[str]:
        """The groups that may select one who has these labels: no other does."""
        values = {"keys": sorted(labels), "values": sorted(set(labels.values()))}
        rows = tx.execute(self._candidates, values)
        return {group_id for group_id, key, value in rows if value is None or labels[key] == value}

    def selectors_of(self, tx: Connection, group_ids: Collection[str]) -> dict[str, LabelSelector]:
        """The selectors that these groups have."""
        rows = tx.execute(self._selectors, {"ids": sorted(group_ids)}) if group_ids else ()
        return {id: LabelSelector.FromString(selector) for id, selector in rows if selector is not None}

    def matching(self, tx: Connection, selector: LabelSelector) -> set[str]:
        """The ids of all that fit a selector."""
        query = select(self._id).where(
            *(self._has(key, [value]) for key, value in sorted(selector.match_labels.items())),
            *(self._meets(each) for each in selector.match_expressions),
        )
        return set(tx.execute(query).scalars())

    def _meets(self, requirement: LabelRequirement) -> ColumnElement[bool]:
        has = self._has(requirement.key, requirement.values)
        negative = requirement.operator in (
            LabelOperator.LABEL_OPERATOR_NOT_IN,
            LabelOperator.LABEL_OPERATOR_DOES_NOT_EXIST,
        )
        return ~has if negative else has

    def _has(self, key: str, values: Collection[str]) -> ColumnElement[bool]:
        """Whether one has the label, with any of the values where there are some."""
        table = self._labels.table
        holders = select(table.c[self._labels.holders.key]).where(table.c.key == key)
        return self._id.in_(holders.where(table.c.value.in_(values)) if values else holders)


_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_VALUES: BindParameter[Any] = bindparam("values", expanding=True)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_INSERT = insert(selector_anchors)

SELECTED_APPLICATIONS = Selecting("APPLICATION", "application_selector", APPLICATION_LABELS)
SELECTED_RUNTIMES = Selecting("RUNTIME", "runtime_selector", RUNTIME_LABELS)

"""Queries upon memberships: who is in which group, now and at earlier revisions."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, case, insert, select, tuple_, update

from director.store.registry import APPLICATIONS, RUNTIMES, Registry, Values
from director.store.tables import group_applications, group_runtimes, groups

Pair = tuple[str, str]
"""A membership: the id of the group, and that of the member."""

_MOST_PAIRS = 500
"""Pairs in one statement: well under SQLite's limit of bound values."""


class Memberships:
    """One of the two tables of memberships; `members` is the registry of those who are in the groups."""

    def __init__(self, table: Table, members: Registry) -> None:
        self.table = table
        self.members = members
        self._member = table.c[members.key]
        self._living = table.c.removed_revision.is_(None)
        self._pair = tuple_(table.c.group_id, self._member)
        self._selected_by = select(table.c.group_id).where(
            self._member == bindparam("id"), self._living, table.c.selected
        )
        self._selected_in = select(self._member).where(
            table.c.group_id == bindparam("id"), self._living, table.c.selected
        )
        self._holders = (
            select(groups.c.name)
            .join(table, table.c.group_id == groups.c.group_id)
            .where(self._member == bindparam("id"), self._living, table.c.added)
            .order_by(groups.c.name)
            .limit(bindparam("limit"))
        )
        name = members.table.c.name
        self._first = (
            select(self._member.label("id"), name, table.c.added, table.c.selected)
            .join(members.table, self._member == members.table.c[members.key])
            .where(table.c.group_id == bindparam("group_id"), self._living)
            .order_by(name)
            .limit(bindparam("limit"))
        )
        self._beyond = self._first.where(name > bindparam("after", type_=name.type))

    def members_by_group(self, tx: Connection, group_ids: Collection[str]) -> dict[str, list[str]]:
        """Ids of the members of each of these groups, in no order."""
        members: dict[str, list[str]] = {}
        query = select(self.table.c.group_id, self._member).where(self.table.c.group_id.in_(group_ids), self._living)
        for group_id, member_id in tx.execute(query) if group_ids else ():
            members.setdefault(group_id, []).append(member_id)
        return members

    def groups_of(self, tx: Connection, member_id: str) -> list[str]:
        """Ids of the groups that a member is in, in no order."""
        return list(tx.execute(self.groups_with(member_id)).scalars())

    def in_groups(self, tx: Connection, group_ids: Collection[str]) -> list[str]:
        """Ids of those who are in any of the groups, each once."""
        if not group_ids:
            return []
        query = select(self._member).distinct().where(self.table.c.group_id.in_(group_ids), self._living)
        return list(tx.execute(query).scalars())

    def page(self, tx: Connection, group_id: str, after: str | None, limit: int) -> Sequence[Values]:
        """The first `limit` members of a group whose names come after `after`, by name.

        Each with its `id`, `name`, and why it is in the group: `added`, `selected`.
        """
        values = {"group_id": group_id, "limit": limit}
        if after is None:
            return [row._asdict() for row in tx.execute(self._first, values)]
        return [row._asdict() for row in tx.execute(self._beyond, {**values, "after": after})]

    def add(self, tx: Connection, revision: int, pairs: Sequence[Pair]) -> list[Pair]:
        """Have memberships be by name; returns those that so begin."""
        return self._claim(tx, revision, pairs, "added")

    def remove(self, tx: Connection, revision: int, pairs: Sequence[Pair]) -> list[Pair]:
        """Have memberships be by name no longer; returns those that so end."""
        return self._waive(tx, revision, pairs, "added", "selected")

    def select(self, tx: Connection, revision: int, pairs: Sequence[Pair]) -> list[Pair]:
        """Have memberships be by the group's selector; returns those that so begin."""
        return self._claim(tx, revision, pairs, "selected")

    def deselect(self, tx: Connection, revision: int, pairs: Sequence[Pair]) -> list[Pair]:
        """Have memberships be by the group's selector no longer; returns those that so end."""
        return self._waive(tx, revision, pairs, "selected", "added")

    def selected_by(self, tx: Connection, member_id: str) -> list[str]:
        """Ids of the groups whose selectors ask for a member."""
        return list(tx.execute(self._selected_by, {"id": member_id}).scalars())

    def selected_in(self, tx: Connection, group_id: str) -> list[str]:
        """Ids of the members that a group's selector asks for."""
        return list(tx.execute(self._selected_in, {"id": group_id}).scalars())

    def names_of_holders(self, tx: Connection, member_id: str, limit: int) -> list[str]:
        """Names of the first `limit` groups that a member was added to by name."""
        return list(tx.execute(self._holders, {"id": member_id, "limit": limit}).scalars())

    def remove_all(self, tx: Connection, revision: int, group_id: str) -> list[str]:
        """End all memberships of a group; returns the ids of those who were in it."""
        ended = self._ending(revision).where(self.table.c.group_id == group_id)
        return list(tx.execute(ended.returning(self._member)).scalars())

    def leave_all(self, tx: Connection, revision: int, member_id: str) -> list[str]:
        """End all memberships of one member; returns the ids of the groups that it was in."""
        ended = self._ending(revision).where(self._member == member_id)
        return list(tx.execute(ended.returning(self.table.c.group_id)).scalars())

    def groups_with(self, member_id: str) -> Select[Any]:
        """The query of the ids of the groups that a member is in, to be part of another."""
        return select(self.table.c.group_id).where(self._member == member_id, self._living)

    def _claim(self, tx: Connection, revision: int, pairs: Sequence[Pair], reason: str) -> list[Pair]:
        begun: list[Pair] = []
        for some in _batches(pairs):
            claimed = update(self.table).where(*self._are(some), self._living).values({reason: True})
            held = {(row[0], row[1]) for row in tx.execute(claimed.returning(self.table.c.group_id, self._member))}
            begun += [pair for pair in some if pair not in held]
        if begun:
            reasons = {"added": False, "selected": False, reason: True, "added_revision": revision}
            tx.execute(
                insert(self.table),
                [{"group_id": group_id, self.members.key: member_id, **reasons} for group_id, member_id in begun],
            )
        return begun

    def _waive(self, tx: Connection, revision: int, pairs: Sequence[Pair], reason: str, other: str) -> list[Pair]:
        ended: list[Pair] = []
        removed = self.table.c.removed_revision
        for some in _batches(pairs):
            waived = (
                update(self.table)
                .where(*self._are(some), self._living, self.table.c[reason])
                .values({reason: False, "removed_revision": case((self.table.c[other], None), else_=revision)})
            )
            rows = tx.execute(waived.returning(self.table.c.group_id, self._member, removed))
            ended += [(group_id, member_id) for group_id, member_id, removed_at in rows if removed_at is not None]
        return ended

    def _are(self, pairs: Sequence[Pair]) -> Sequence[ColumnElement[bool]]:
        """That a membership is one of these. SQLite would read all memberships if it knew the pairs alone."""
        group_ids, member_ids = (sorted(set(ids)) for ids in zip(*pairs, strict=True))
        return self.table.c.group_id.in_(group_ids), self._member.in_(member_ids), self._pair.in_(pairs)

    def _ending(self, revision: int) -> Any:
        return update(self.table).where(self._living).values(removed_revision=revision)


def _batches(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    return (pairs[first : first + _MOST_PAIRS] for first in range(0, len(pairs), _MOST_PAIRS))


GROUP_APPLICATIONS = Memberships(group_applications, APPLICATIONS)
GROUP_RUNTIMES = Memberships(group_runtimes, RUNTIMES)

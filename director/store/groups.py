"""Queries upon memberships: who is in which group, now and at earlier revisions."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, insert, select, tuple_, update

from director.store.registry import APPLICATIONS, RUNTIMES, Registry, Values
from director.store.tables import group_applications, group_runtimes, groups


class Memberships:
    """One of the two tables of memberships; `members` is the registry of those who are in the groups."""

    def __init__(self, table: Table, members: Registry) -> None:
        self.table = table
        self.members = members
        self._member = table.c[members.key]
        self._living = table.c.removed_revision.is_(None)
        self._members_of = select(self._member).where(table.c.group_id == bindparam("group_id"), self._living)
        name = members.table.c.name
        self._first = (
            select(self._member.label("id"), name)
            .join(members.table, self._member == members.table.c[members.key])
            .where(table.c.group_id == bindparam("group_id"), self._living)
            .order_by(name)
            .limit(bindparam("limit"))
        )
        self._beyond = self._first.where(name > bindparam("after", type_=name.type))

    def members_of(self, tx: Connection, group_id: str) -> list[str]:
        """Ids of the members of a group, in no order."""
        return list(tx.execute(self._members_of, {"group_id": group_id}).scalars())

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
        """`id` and `name` of the first `limit` members of a group whose names come after `after`, by name."""
        values = {"group_id": group_id, "limit": limit}
        if after is None:
            return [row._asdict() for row in tx.execute(self._first, values)]
        return [row._asdict() for row in tx.execute(self._beyond, {**values, "after": after})]

    def add(self, tx: Connection, revision: int, pairs: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """Begin the memberships (group id, member id) of `pairs` that do not hold yet; returns those."""
        if not pairs:
            return []
        pair = tuple_(self.table.c.group_id, self._member)
        query = select(self.table.c.group_id, self._member).where(pair.in_(list(pairs)), self._living)
        held = {(row[0], row[1]) for row in tx.execute(query)}
        begun = [each for each in pairs if each not in held]
        if begun:
            rows = [{"group_id": g, self.members.key: m, "added_revision": revision} for g, m in begun]
            tx.execute(insert(self.table), rows)
        return begun

    def remove(self, tx: Connection, revision: int, group_id: str, member_ids: Collection[str]) -> list[str]:
        """End memberships of a group; returns the ids of those members who were in it."""
        if not member_ids:
            return []
        ended = self._ending(revision).where(self.table.c.group_id == group_id, self._member.in_(member_ids))
        return list(tx.execute(ended.returning(self._member)).scalars())

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

    def _ending(self, revision: int) -> Any:
        return update(self.table).where(self._living).values(removed_revision=revision)


GROUP_APPLICATIONS = Memberships(group_applications, APPLICATIONS)
GROUP_RUNTIMES = Memberships(group_runtimes, RUNTIMES)


def page_of_groups(
    tx: Connection, after: tuple[str, ...] | None, limit: int, application_id: str, runtime_id: str
) -> Sequence[Values]:
    """The first `limit` groups beyond the place `after`, by name; of an Application, a Runtime or both where given."""
    query = select(groups).order_by(groups.c.name).limit(limit)
    if after is not None:
        query = query.where(groups.c.name > after[0])
    for memberships, member_id in ((GROUP_APPLICATIONS, application_id), (GROUP_RUNTIMES, runtime_id)):
        if member_id:
            query = query.where(groups.c.group_id.in_(memberships.groups_with(member_id)))
    return [row._asdict() for row in tx.execute(query)]

"""Who is in which group: how memberships begin and end, and whom that concerns.

A member is in a group because it was added by name, because the group's selector asks for it, or for both reasons; it
is in it for as long as there is one. A change of membership is a change of the group: it takes the group's revision
along.
"""

from collections.abc import Collection, Sequence

from director.changes import Action, Kind, Mutation
from director.store import Transaction
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES, Memberships, Pair
from director.store.registry import GROUPS
from director.webhooks import outbox


def join_group(
    tx: Transaction, mutation: Mutation, group_id: str, application_ids: Sequence[str], runtime_ids: Sequence[str]
) -> None:
    """Add members to a group by name."""
    for memberships, ids in ((GROUP_APPLICATIONS, application_ids), (GROUP_RUNTIMES, runtime_ids)):
        begun = memberships.add(tx, mutation.revision, [(group_id, id) for id in ids])
        _record(tx, mutation, Action.ADD, memberships, begun)


def quit_group(
    tx: Transaction, mutation: Mutation, group_id: str, application_ids: Sequence[str], runtime_ids: Sequence[str]
) -> None:
    """Take back that members were added to a group; those whom its selector asks for stay."""
    for memberships, ids in ((GROUP_APPLICATIONS, application_ids), (GROUP_RUNTIMES, runtime_ids)):
        ended = memberships.remove(tx, mutation.revision, [(group_id, id) for id in ids])
        _record(tx, mutation, Action.REMOVE, memberships, ended)


def select_members(tx: Transaction, mutation: Mutation, memberships: Memberships, pairs: Sequence[Pair]) -> None:
    """Have groups select members."""
    _record(tx, mutation, Action.ADD, memberships, memberships.select(tx, mutation.revision, pairs))


def deselect_members(tx: Transaction, mutation: Mutation, memberships: Memberships, pairs: Sequence[Pair]) -> None:
    """Have groups select members no longer; those who were added by name stay."""
    _record(tx, mutation, Action.REMOVE, memberships, memberships.deselect(tx, mutation.revision, pairs))


def empty_group(tx: Transaction, mutation: Mutation, group_id: str) -> None:
    """Remove every member of a group that goes."""
    for memberships in (GROUP_APPLICATIONS, GROUP_RUNTIMES):
        ended = memberships.remove_all(tx, mutation.revision, group_id)
        _record(tx, mutation, Action.REMOVE, memberships, [(group_id, id) for id in ended])


def join_groups(tx: Transaction, mutation: Mutation, runtime_id: str, group_ids: Collection[str]) -> None:
    """Add a Runtime to several groups."""
    begun = GROUP_RUNTIMES.add(tx, mutation.revision, [(group_id, runtime_id) for group_id in group_ids])
    _record(tx, mutation, Action.ADD, GROUP_RUNTIMES, begun)


def leave_groups(tx: Transaction, mutation: Mutation, memberships: Memberships, member_id: str) -> None:
    """End all memberships of one who goes."""
    group_ids = memberships.leave_all(tx, mutation.revision, member_id)
    _record(tx, mutation, Action.REMOVE, memberships, [(group_id, member_id) for group_id in group_ids])


def _record(
    tx: Transaction, mutation: Mutation, action: Action, memberships: Memberships, pairs: Collection[Pair]
) -> None:
    """Note memberships that began or ended, and whom they concern.

    Who came or went, of all Runtimes of the group; the Applications of the group, of the Runtimes that came or went.
    """
    by_group: dict[str, list[str]] = {}
    for group_id, member_id in pairs:
        whose = {memberships.members.key: member_id}
        mutation.record(action, Kind.MEMBER, member_id, group_id=group_id, **whose)
        by_group.setdefault(group_id, []).append(member_id)
    if not by_group:
        return
    GROUPS.update_all(tx, by_group, {"update_time": mutation.micros, "revision": mutation.revision})
    others = GROUP_RUNTIMES if memberships is GROUP_APPLICATIONS else GROUP_APPLICATIONS
    facing = others.members_by_group(tx, by_group)
    for group_id, member_ids in by_group.items():
        if memberships is GROUP_APPLICATIONS:
            outbox.configuration_changed(mutation, member_ids, facing.get(group_id, ()))
        else:
            outbox.configuration_changed(mutation, facing.get(group_id, ()), member_ids)

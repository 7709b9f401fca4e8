"""Who is in which group: how memberships begin and end, and whom that concerns.

A change of membership is a change of the group: it takes the group's revision along.
"""

from collections.abc import Collection, Sequence

from director.changes import Action, Kind, Mutation
from director.store import Transaction
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES, Memberships
from director.store.registry import GROUPS
from director.webhooks import outbox


def join_group(
    tx: Transaction, mutation: Mutation, group_id: str, application_ids: Sequence[str], runtime_ids: Sequence[str]
) -> bool:
    """Add members to a group, and tell the Applications concerned; says whether any was not in it before."""
    applications = _begin(tx, mutation, GROUP_APPLICATIONS, [(group_id, id) for id in application_ids])
    runtimes = _begin(tx, mutation, GROUP_RUNTIMES, [(group_id, id) for id in runtime_ids])
    _announce(tx, mutation, group_id, [id for _, id in applications], [id for _, id in runtimes])
    return bool(applications or runtimes)


def quit_group(
    tx: Transaction, mutation: Mutation, group_id: str, application_ids: Sequence[str], runtime_ids: Sequence[str]
) -> bool:
    """Remove members from a group, and tell the Applications concerned; says whether any was in it."""
    applications = GROUP_APPLICATIONS.remove(tx, mutation.revision, group_id, application_ids)
    runtimes = GROUP_RUNTIMES.remove(tx, mutation.revision, group_id, runtime_ids)
    _end(tx, mutation, group_id, applications, runtimes)
    return bool(applications or runtimes)


def empty_group(tx: Transaction, mutation: Mutation, group_id: str) -> None:
    """Remove every member of a group, and tell the Applications concerned."""
    applications = GROUP_APPLICATIONS.remove_all(tx, mutation.revision, group_id)
    runtimes = GROUP_RUNTIMES.remove_all(tx, mutation.revision, group_id)
    _end(tx, mutation, group_id, applications, runtimes)


def join_groups(tx: Transaction, mutation: Mutation, runtime_id: str, group_ids: Collection[str]) -> None:
    """Add a new Runtime to several groups, and tell the Applications concerned."""
    _begin(tx, mutation, GROUP_RUNTIMES, [(group_id, runtime_id) for group_id in group_ids])
    touch_groups(tx, mutation, group_ids)
    outbox.configuration_changed(tx, mutation, GROUP_APPLICATIONS.in_groups(tx, group_ids), [runtime_id])


def leave_groups(tx: Transaction, mutation: Mutation, memberships: Memberships, member_id: str) -> list[str]:
    """End all memberships of one who goes; returns the ids of the groups that it was in."""
    group_ids = memberships.leave_all(tx, mutation.revision, member_id)
    for group_id in group_ids:
        _record(mutation, Action.REMOVE, memberships, group_id, member_id)
    touch_groups(tx, mutation, group_ids)
    return group_ids


def touch_groups(tx: Transaction, mutation: Mutation, group_ids: Collection[str]) -> None:
    """Have the groups take the mutation's revision."""
    GROUPS.update_all(tx, group_ids, {"update_time": mutation.micros, "revision": mutation.revision})


def _begin(
    tx: Transaction, mutation: Mutation, memberships: Memberships, pairs: Collection[tuple[str, str]]
) -> list[tuple[str, str]]:
    begun = memberships.add(tx, mutation.revision, pairs)
    for group_id, member_id in begun:
        _record(mutation, Action.ADD, memberships, group_id, member_id)
    return begun


def _end(
    tx: Transaction, mutation: Mutation, group_id: str, applications: Sequence[str], runtimes: Sequence[str]
) -> None:
    for memberships, member_ids in ((GROUP_APPLICATIONS, applications), (GROUP_RUNTIMES, runtimes)):
        for member_id in member_ids:
            _record(mutation, Action.REMOVE, memberships, group_id, member_id)
    _announce(tx, mutation, group_id, applications, runtimes)


def _record(mutation: Mutation, action: Action, memberships: Memberships, group_id: str, member_id: str) -> None:
    whose = {memberships.members.key: member_id}
    mutation.record(action, Kind.MEMBER, member_id, group_id=group_id, **whose)


def _announce(
    tx: Transaction, mutation: Mutation, group_id: str, applications: Collection[str], runtimes: Collection[str]
) -> None:
    """Tell of members that came or went: who came or went, of all Runtimes of the group; the others, of theirs."""
    if runtimes:
        others = set(GROUP_APPLICATIONS.members_of(tx, group_id)).difference(applications)
        outbox.configuration_changed(tx, mutation, others, runtimes)
    if applications:
        served = set(GROUP_RUNTIMES.members_of(tx, group_id)).union(runtimes)
        outbox.configuration_changed(tx, mutation, applications, served)

"""The members of Groups: added and removed by name, in one group or in many at once, and read a page at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    AddGroupMembersResponse,
    BatchUpdateGroupMembersRequest,
    BatchUpdateGroupMembersResponse,
    GroupMember,
    ListGroupMembersRequest,
    ListGroupMembersResponse,
    RemoveGroupMembersRequest,
    RemoveGroupMembersResponse,
)

from director import resource
from director.changes import Mutation
from director.groups import group_message
from director.kinds import APPLICATION, GROUP, RUNTIME, ResourceKind
from director.memberships import join_group, quit_group
from director.store import Transaction
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES
from director.store.registry import Values
from mesh.errors import Refusal, Violation
from mesh.paging import read_page

# A place in a group's members: which kind, and the name.
_APPLICATIONS, _RUNTIMES = "0", "1"

_MOST_IDS = 500
"""Ids in one query: well under SQLite's limit of bound values."""

_MOST_VIOLATIONS = 100
"""How many of those that do not exist a refusal names."""


def add_group_members(tx: Transaction, mutation: Mutation, request: AddGroupMembersRequest) -> AddGroupMembersResponse:
    """Add members by name, in one revision.

    Raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH, APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND).
    """
    resource.check_etag(resource.get(tx, GROUP, request.group_id), request.etag)
    resource.require_all(tx, APPLICATION, "application_ids", request.application_ids)
    resource.require_all(tx, RUNTIME, "runtime_ids", request.runtime_ids)
    join_group(tx, mutation, request.group_id, request.application_ids, request.runtime_ids)
    return AddGroupMembersResponse(group=group_message(resource.get(tx, GROUP, request.group_id)))


def remove_group_members(
    tx: Transaction, mutation: Mutation, request: RemoveGroupMembersRequest
) -> RemoveGroupMembersResponse:
    """Remove members that were added, in one revision; raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH)."""
    resource.check_etag(resource.get(tx, GROUP, request.group_id), request.etag)
    quit_group(tx, mutation, request.group_id, request.application_ids, request.runtime_ids)
    return RemoveGroupMembersResponse(group=group_message(resource.get(tx, GROUP, request.group_id)))


def batch_update_group_members(
    tx: Transaction, mutation: Mutation, request: BatchUpdateGroupMembersRequest
) -> BatchUpdateGroupMembersResponse:
    """Change the members of many Groups in one revision.

    Raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH, APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND).
    """
    _require_all(tx, GROUP, {change.group_id: f"changes[{i}].group_id" for i, change in enumerate(request.changes)})
    for index, change in enumerate(request.changes):
        if change.etag:
            resource.check_etag(resource.get(tx, GROUP, change.group_id), change.etag, f"changes[{index}].etag")
    _require_all(tx, APPLICATION, _named(request, "add_application_ids"))
    _require_all(tx, RUNTIME, _named(request, "add_runtime_ids"))
    for change in request.changes:
        quit_group(tx, mutation, change.group_id, change.remove_application_ids, change.remove_runtime_ids)
        join_group(tx, mutation, change.group_id, change.add_application_ids, change.add_runtime_ids)
    rows = [resource.get(tx, GROUP, change.group_id) for change in request.changes]
    changed = any(row["revision"] == mutation.revision for row in rows)
    return BatchUpdateGroupMembersResponse(
        groups=[group_message(row) for row in rows],
        revision=mutation.revision if changed else mutation.plane.revision,
    )


def list_group_members(tx: Transaction, request: ListGroupMembersRequest) -> ListGroupMembersResponse:
    """Read a page of a Group's members; raises `Refusal` (GROUP_NOT_FOUND, PAGE_TOKEN_INVALID)."""
    resource.get(tx, GROUP, request.group_id)

    def read(after: tuple[str, ...] | None, limit: int) -> list[GroupMember]:
        kind, name = after or (_APPLICATIONS, None)
        members: list[GroupMember] = []
        if kind == _APPLICATIONS:
            applications = GROUP_APPLICATIONS.page(tx, request.group_id, name, limit)
            members += [GroupMember(application_id=row["id"], **_common(row)) for row in applications]
            name = None
        if len(members) < limit:
            runtimes = GROUP_RUNTIMES.page(tx, request.group_id, name, limit - len(members))
            members += [GroupMember(runtime_id=row["id"], **_common(row)) for row in runtimes]
        return members

    page = read_page(request, read, _place, types=(str, str))
    return ListGroupMembersResponse(members=page.rows, next_page_token=page.next_page_token)


def _named(request: BatchUpdateGroupMembersRequest, field: str) -> dict[str, str]:
    """The first place in the request that names each id."""
    places: dict[str, str] = {}
    for index, change in enumerate(request.changes):
        for position, id in enumerate(getattr(change, field)):
            places.setdefault(id, f"changes[{index}].{field}[{position}]")
    return places


def _require_all(tx: Transaction, kind: ResourceKind, places: Mapping[str, str]) -> None:
    present = {id for some in _batches(list(places)) for id in kind.registry.present(tx, some)}
    missing = [id for id in places if id not in present]
    if missing:
        raise Refusal(
            kind.not_found,
            f"{len(missing)} {kind.noun}s do not exist, such as {missing[0]}",
            violations=[Violation(places[id], f"there is no {kind.noun} {id}") for id in missing[:_MOST_VIOLATIONS]],
        )


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[first : first + _MOST_IDS] for first in range(0, len(ids), _MOST_IDS))


def _common(row: Values) -> dict[str, Any]:
    return {"name": row["name"], "added": row["added"], "selected": row["selected"]}


def _place(member: GroupMember) -> tuple[str, ...]:
    return (_RUNTIMES if member.HasField("runtime_id") else _APPLICATIONS, member.name)

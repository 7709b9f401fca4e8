"""Groups: every Runtime in a group sees every Application in it."""

from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    AddGroupMembersResponse,
    CreateGroupRequest,
    CreateGroupResponse,
    DeleteGroupRequest,
    DeleteGroupResponse,
    GetGroupRequest,
    GetGroupResponse,
    Group,
    GroupMember,
    ListGroupMembersRequest,
    ListGroupMembersResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    RemoveGroupMembersRequest,
    RemoveGroupMembersResponse,
    UpdateGroupRequest,
    UpdateGroupResponse,
)

from director import resource
from director.changes import Action, Kind, Mutation
from director.kinds import APPLICATION, GROUP, RUNTIME
from director.memberships import empty_group, join_group, quit_group, touch_groups
from director.store import Transaction
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES, page_of_groups
from director.store.registry import GROUPS, Values
from director.times import to_timestamp
from mesh.paging import read_page

# A place in a group's members: which kind, and the name.
_APPLICATIONS, _RUNTIMES = "0", "1"


def create_group(tx: Transaction, mutation: Mutation, request: CreateGroupRequest) -> CreateGroupResponse:
    """Create a Group with its first members.

    Raises `Refusal` (NAME_TAKEN, APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND).
    """
    _require_members(tx, request)
    values = {"name": request.group.name, "description": request.group.description}
    row = resource.create(tx, mutation, GROUP, values)
    _record(mutation, Action.CREATE, row["group_id"])
    join_group(tx, mutation, row["group_id"], request.application_ids, request.runtime_ids)
    return CreateGroupResponse(group=_message(row))


def get_group(tx: Transaction, request: GetGroupRequest) -> GetGroupResponse:
    """Read a Group; raises `Refusal` (GROUP_NOT_FOUND)."""
    return GetGroupResponse(group=_message(resource.get(tx, GROUP, request.group_id)))


def list_groups(tx: Transaction, request: ListGroupsRequest) -> ListGroupsResponse:
    """Read a page of Groups by name; raises `Refusal` (PAGE_TOKEN_INVALID)."""
    page = read_page(
        request,
        lambda after, limit: page_of_groups(tx, after, limit, request.application_id, request.runtime_id),
        GROUPS.place,
    )
    return ListGroupsResponse(groups=[_message(row) for row in page.rows], next_page_token=page.next_page_token)


def update_group(tx: Transaction, mutation: Mutation, request: UpdateGroupRequest) -> UpdateGroupResponse:
    """Change a Group.

    Raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN).
    """
    sent = request.group
    fields = resource.fields_to_set(GROUP, request.update_mask, sent)
    row = resource.get(tx, GROUP, sent.group_id)
    resource.check_etag(row, sent.etag)
    changed = resource.update(tx, mutation, GROUP, row, {name: getattr(sent, name) for name in fields})
    if changed is not None:
        _record(mutation, Action.UPDATE, sent.group_id)
    return UpdateGroupResponse(group=_message(changed or row))


def delete_group(tx: Transaction, mutation: Mutation, request: DeleteGroupRequest) -> DeleteGroupResponse:
    """Remove a Group and end its memberships; raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH)."""
    resource.check_etag(resource.get(tx, GROUP, request.group_id), request.etag)
    empty_group(tx, mutation, request.group_id)
    GROUPS.delete(tx, request.group_id)
    _record(mutation, Action.DELETE, request.group_id)
    return DeleteGroupResponse()


def add_group_members(tx: Transaction, mutation: Mutation, request: AddGroupMembersRequest) -> AddGroupMembersResponse:
    """Add members in one revision.

    Raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH, APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND).
    """
    row = resource.get(tx, GROUP, request.group_id)
    resource.check_etag(row, request.etag)
    _require_members(tx, request)
    came = join_group(tx, mutation, request.group_id, request.application_ids, request.runtime_ids)
    return AddGroupMembersResponse(group=_message(_touched(tx, mutation, row) if came else row))


def remove_group_members(
    tx: Transaction, mutation: Mutation, request: RemoveGroupMembersRequest
) -> RemoveGroupMembersResponse:
    """Remove members in one revision; raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH)."""
    row = resource.get(tx, GROUP, request.group_id)
    resource.check_etag(row, request.etag)
    went = quit_group(tx, mutation, request.group_id, request.application_ids, request.runtime_ids)
    return RemoveGroupMembersResponse(group=_message(_touched(tx, mutation, row) if went else row))


def list_group_members(tx: Transaction, request: ListGroupMembersRequest) -> ListGroupMembersResponse:
    """Read a page of a Group's members; raises `Refusal` (GROUP_NOT_FOUND, PAGE_TOKEN_INVALID)."""
    resource.get(tx, GROUP, request.group_id)

    def read(after: tuple[str, ...] | None, limit: int) -> list[GroupMember]:
        kind, name = after or (_APPLICATIONS, None)
        members: list[GroupMember] = []
        if kind == _APPLICATIONS:
            applications = GROUP_APPLICATIONS.page(tx, request.group_id, name, limit)
            members += [GroupMember(application_id=row["id"], name=row["name"]) for row in applications]
            name = None
        if len(members) < limit:
            runtimes = GROUP_RUNTIMES.page(tx, request.group_id, name, limit - len(members))
            members += [GroupMember(runtime_id=row["id"], name=row["name"]) for row in runtimes]
        return members

    page = read_page(request, read, _place)
    return ListGroupMembersResponse(members=page.rows, next_page_token=page.next_page_token)


def _place(member: GroupMember) -> tuple[str, ...]:
    return (_RUNTIMES if member.HasField("runtime_id") else _APPLICATIONS, member.name)


def _require_members(tx: Transaction, request: CreateGroupRequest | AddGroupMembersRequest) -> None:
    resource.require_all(tx, APPLICATION, "application_ids", request.application_ids)
    resource.require_all(tx, RUNTIME, "runtime_ids", request.runtime_ids)


def _touched(tx: Transaction, mutation: Mutation, row: Values) -> Values:
    touch_groups(tx, mutation, [row["group_id"]])
    return {**row, "update_time": mutation.micros, "revision": mutation.revision}


def _record(mutation: Mutation, action: Action, id: str) -> None:
    mutation.record(action, Kind.GROUP, id, group_id=id)


def _message(row: Values) -> Group:
    return Group(
        group_id=row["group_id"],
        name=row["name"],
        description=row["description"],
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
    )

"""Groups: every Runtime in a group sees every Application in it."""

from collections.abc import Collection
from typing import Any

from moorage.director.v1.group_pb2 import (
    CreateGroupRequest,
    CreateGroupResponse,
    DeleteGroupRequest,
    DeleteGroupResponse,
    GetGroupRequest,
    GetGroupResponse,
    Group,
    ListGroupsRequest,
    ListGroupsResponse,
    UpdateGroupRequest,
    UpdateGroupResponse,
)
from moorage.director.v1.label_pb2 import LabelSelector

from director import holds, resource, selectors
from director.changes import Action, Kind, Mutation
from director.kinds import APPLICATION, GROUP, RUNTIME
from director.memberships import empty_group, join_group
from director.search.listing import read_list
from director.search.masks import ReadMask
from director.search.resources import GROUP_SEARCH
from director.store import Transaction
from director.store.registry import GROUPS, Values
from director.times import to_timestamp

_SELECTORS = {"application_selector": Kind.APPLICATION, "runtime_selector": Kind.RUNTIME}
"""The fields that hold selectors, and what they select."""


def create_group(tx: Transaction, mutation: Mutation, request: CreateGroupRequest) -> CreateGroupResponse:
    """Create a Group with its first members.

    Raises `Refusal` (NAME_TAKEN, APPLICATION_NOT_FOUND, RUNTIME_NOT_FOUND).
    """
    resource.require_all(tx, APPLICATION, "application_ids", request.application_ids)
    resource.require_all(tx, RUNTIME, "runtime_ids", request.runtime_ids)
    row = resource.create(tx, mutation, GROUP, _values(request.group, GROUP.settable))
    _record(mutation, Action.CREATE, row["group_id"])
    join_group(tx, mutation, row["group_id"], request.application_ids, request.runtime_ids)
    _reselect(tx, mutation, row, {name for name in _SELECTORS if row[name] is not None})
    return CreateGroupResponse(group=group_message(row))


def get_group(tx: Transaction, request: GetGroupRequest) -> GetGroupResponse:
    """Read a Group; raises `Refusal` (GROUP_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, Group.DESCRIPTOR)
    return GetGroupResponse(group=mask.apply(group_message(resource.get(tx, GROUP, request.group_id))))


def list_groups(tx: Transaction, request: ListGroupsRequest) -> ListGroupsResponse:
    """Read a page of Groups: all, or those of one Application or Runtime.

    Raises `Refusal` (PAGE_TOKEN_INVALID, FILTER_INVALID, FIELD_INVALID).
    """
    within = {"application_id": request.application_id, "runtime_id": request.runtime_id}
    listing = read_list(tx, GROUPS, GROUP_SEARCH, request, within)
    return ListGroupsResponse(
        groups=listing.messages(group_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_group(tx: Transaction, mutation: Mutation, request: UpdateGroupRequest) -> UpdateGroupResponse:
    """Change a Group.

    Raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN).
    """
    sent = request.group
    fields = resource.fields_to_set(GROUP, request.update_mask, sent)
    row = resource.get(tx, GROUP, sent.group_id)
    resource.check_etag(row, sent.etag)
    changed = resource.update(tx, mutation, GROUP, row, _values(sent, fields))
    if changed is not None:
        _record(mutation, Action.UPDATE, sent.group_id)
        _reselect(tx, mutation, changed, {name for name in _SELECTORS if row[name] != changed[name]})
    return UpdateGroupResponse(group=group_message(changed or row))


def delete_group(tx: Transaction, mutation: Mutation, request: DeleteGroupRequest) -> DeleteGroupResponse:
    """Remove a Group and end its memberships; raises `Refusal` (GROUP_NOT_FOUND, ETAG_MISMATCH, RESOURCE_HELD)."""
    resource.check_etag(resource.get(tx, GROUP, request.group_id), request.etag)
    if not request.force:
        holds.check_group(tx, request.group_id)
    empty_group(tx, mutation, request.group_id)
    GROUPS.delete(tx, request.group_id)
    _record(mutation, Action.DELETE, request.group_id)
    return DeleteGroupResponse()


def group_message(row: Values) -> Group:
    """A Group as clients see it."""
    return Group(
        group_id=row["group_id"],
        name=row["name"],
        description=row["description"],
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
        **{name: _selector(row, name) for name in _SELECTORS},
    )


def _values(sent: Group, fields: Collection[str]) -> dict[str, Any]:
    """What of the fields that clients set is to be stored; a selector that is not set is stored as none."""
    set_fields = {field.name: value for field, value in sent.ListFields()}
    values = {name: getattr(sent, name) for name in fields if name not in _SELECTORS}
    for name in _SELECTORS.keys() & set(fields):
        selector: LabelSelector | None = set_fields.get(name)
        values[name] = selector.SerializeToString(deterministic=True) if selector is not None else None
    return values


def _reselect(tx: Transaction, mutation: Mutation, row: Values, changed: Collection[str]) -> None:
    selected = {_SELECTORS[name]: _selector(row, name) for name in sorted(changed)}
    selectors.reselect(tx, mutation, row["group_id"], selected)


def _selector(row: Values, name: str) -> LabelSelector | None:
    return LabelSelector.FromString(row[name]) if row[name] is not None else None


def _record(mutation: Mutation, action: Action, id: str) -> None:
    mutation.record(action, Kind.GROUP, id, group_id=id)

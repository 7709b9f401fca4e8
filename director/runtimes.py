"""Runtimes: where workloads run, and what their agents last reported."""

import json
from collections.abc import Collection
from typing import Any

from moorage.director.v1.configuration_pb2 import ResourceFailure
from moorage.director.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    CreateRuntimeResponse,
    DeleteRuntimeRequest,
    DeleteRuntimeResponse,
    GetRuntimeRequest,
    GetRuntimeResponse,
    ListRuntimesRequest,
    ListRuntimesResponse,
    Runtime,
    RuntimeStatus,
    UpdateRuntimeRequest,
    UpdateRuntimeResponse,
)
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from director import holds, labels, resource, selectors
from director.changes import Action, Kind, Mutation
from director.kinds import GROUP, RUNTIME
from director.memberships import join_groups, leave_groups
from director.search.listing import read_list
from director.search.masks import ReadMask
from director.search.resources import RUNTIME_SEARCH
from director.store import Transaction, credentials, departures
from director.store.desired import read_desired
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES
from director.store.registry import RUNTIMES, Values
from director.times import to_timestamp
from director.webhooks import outbox

_SEEN_BY_APPLICATIONS = ("name", "event_url")
_NO_REPORT = {
    "status_revision": None,
    "status_sha256": "",
    "status_state": 0,
    "status_failures": "[]",
    "agent_version": "",
    "report_time": None,
    "ready_time": None,
    "last_seen_time": None,
    "state_before": 0,
    "stuck_revision": None,
}


def create_runtime(tx: Transaction, mutation: Mutation, request: CreateRuntimeRequest) -> CreateRuntimeResponse:
    """Register a Runtime, in its first groups; raises `Refusal` (NAME_TAKEN, GROUP_NOT_FOUND, LABEL_INVALID)."""
    resource.require_all(tx, GROUP, "group_ids", request.group_ids)
    values = {
        **_values(request.runtime, RUNTIME.settable),
        "state": RuntimeState.RUNTIME_STATE_PENDING,
        "state_time": mutation.micros,
        "state_reason": "it is registered",
        **_NO_REPORT,
    }
    row = resource.create(tx, mutation, RUNTIME, values)
    labels.relabel(tx, RUNTIME, row["runtime_id"], labels.NONE, row["labels"])
    _record(mutation, Action.CREATE, row["runtime_id"])
    join_groups(tx, mutation, row["runtime_id"], request.group_ids)
    selectors.place(tx, mutation, Kind.RUNTIME, row["runtime_id"], request.runtime.labels)
    return CreateRuntimeResponse(runtime=runtime_message(row))


def get_runtime(tx: Transaction, request: GetRuntimeRequest) -> GetRuntimeResponse:
    """Read a Runtime; raises `Refusal` (RUNTIME_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, Runtime.DESCRIPTOR)
    runtime = runtime_message(resource.get(tx, RUNTIME, request.runtime_id))
    put_desired(runtime, *read_desired(tx, request.runtime_id))
    return GetRuntimeResponse(runtime=mask.apply(runtime))


def list_runtimes(tx: Transaction, request: ListRuntimesRequest) -> ListRuntimesResponse:
    """Read a page of Runtimes; raises `Refusal` (FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).

    What could not be applied is left out: it may be much, and a page of it more than a message takes. So is the
    desired revision with its time, which is found out for each.
    """
    listing = read_list(tx, RUNTIMES, RUNTIME_SEARCH, request)
    return ListRuntimesResponse(
        runtimes=listing.messages(lambda row: runtime_message({**row, "status_failures": "[]"})),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_runtime(tx: Transaction, mutation: Mutation, request: UpdateRuntimeRequest) -> UpdateRuntimeResponse:
    """Change a Runtime.

    Raises `Refusal` (RUNTIME_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN, LABEL_INVALID).
    Applications hear of a new name or event URL of a Runtime that is READY; before that they do not use it.
    """
    sent = request.runtime
    fields = resource.fields_to_set(RUNTIME, request.update_mask, sent)
    row = resource.get(tx, RUNTIME, sent.runtime_id)
    resource.check_etag(row, sent.etag)
    changed = resource.update(tx, mutation, RUNTIME, row, _values(sent, fields))
    if changed is not None:
        if labels.relabel(tx, RUNTIME, sent.runtime_id, row["labels"], changed["labels"]):
            selectors.relabelled(tx, mutation, Kind.RUNTIME, sent.runtime_id, sent.labels)
        _record(mutation, Action.UPDATE, sent.runtime_id)
        ready = row["state"] == RuntimeState.RUNTIME_STATE_READY
        if ready and any(changed[name] != row[name] for name in _SEEN_BY_APPLICATIONS):
            group_ids = GROUP_RUNTIMES.groups_of(tx, sent.runtime_id)
            outbox.configuration_changed(mutation, GROUP_APPLICATIONS.in_groups(tx, group_ids), [sent.runtime_id])
    return UpdateRuntimeResponse(runtime=runtime_message(changed or row))


def delete_runtime(tx: Transaction, mutation: Mutation, request: DeleteRuntimeRequest) -> DeleteRuntimeResponse:
    """Remove a Runtime and end its memberships; raises `Refusal` (RUNTIME_NOT_FOUND, ETAG_MISMATCH, RESOURCE_HELD)."""
    id = request.runtime_id
    resource.check_etag(resource.get(tx, RUNTIME, id), request.etag)
    if not request.force:
        holds.check_runtime(tx, id)
    leave_groups(tx, mutation, GROUP_RUNTIMES, id)
    holds.let_go_of_runtime(tx, mutation, id)
    credentials.drop_of_runtime(tx, id)
    RUNTIMES.delete(tx, id)
    departures.append(tx, Kind.RUNTIME, id, mutation.micros)
    _record(mutation, Action.DELETE, id)
    return DeleteRuntimeResponse()


def _record(mutation: Mutation, action: Action, id: str) -> None:
    mutation.record(action, Kind.RUNTIME, id, runtime_id=id)


def _values(sent: Runtime, fields: Collection[str]) -> dict[str, Any]:
    """What of the fields that clients set is to be stored."""
    values = {name: getattr(sent, name) for name in fields}
    return {**values, "labels": labels.to_json(sent.labels)} if "labels" in values else values


def runtime_message(row: Values) -> Runtime:
    """A Runtime as it is read, without what it is to run."""
    last_seen, since = row["last_seen_time"], row["state_time"]
    return Runtime(
        runtime_id=row["runtime_id"],
        name=row["name"],
        description=row["description"],
        event_url=row["event_url"],
        state=row["state"],
        status=_status(row),
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
        labels=labels.from_json(row["labels"]),
        last_seen_time=to_timestamp(last_seen) if last_seen is not None else None,
        state_time=to_timestamp(since) if since else None,
        state_reason=row["state_reason"],
    )


def put_desired(runtime: Runtime, revision: int, time: int | None) -> None:
    """Say what it is to run: up to which revision, and when that was committed, where that is known."""
    runtime.desired_revision = revision
    runtime.ClearField("desired_time")
    if time is not None:
        runtime.desired_time.CopyFrom(to_timestamp(time))


def _status(row: Values) -> RuntimeStatus | None:
    if row["report_time"] is None:
        return None
    return RuntimeStatus(
        revision=row["status_revision"],
        content_sha256=row["status_sha256"],
        state=row["status_state"],
        failures=[ResourceFailure(**failure) for failure in json.loads(row["status_failures"])],
        agent_version=row["agent_version"],
        report_time=to_timestamp(row["report_time"]),
    )

"""Applications: systems that offer APIs and events to the Runtimes they serve."""

from collections.abc import Collection
from typing import Any

from moorage.director.v1.application_pb2 import (
    Application,
    ApplicationState,
    CreateApplicationRequest,
    CreateApplicationResponse,
    DeleteApplicationRequest,
    DeleteApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)

from director import holds, labels, resource, selectors
from director.changes import Action, Kind, Mutation
from director.kinds import APPLICATION, RUNTIME
from director.memberships import leave_groups
from director.search.listing import read_list
from director.search.masks import ReadMask
from director.search.resources import APPLICATION_SEARCH
from director.store import Transaction, departures, specifications
from director.store.groups import GROUP_APPLICATIONS
from director.store.registry import APPLICATIONS, Values
from director.times import to_timestamp
from director.webhooks import outbox

_SEEN_BY_RUNTIMES = frozenset({"name", "description", "provider", "base_url"})
"""The fields that are part of what a Runtime knows of an Application."""


def create_application(
    tx: Transaction, mutation: Mutation, request: CreateApplicationRequest
) -> CreateApplicationResponse:
    """Register an Application; raises `Refusal` (NAME_TAKEN, RUNTIME_NOT_FOUND, LABEL_INVALID)."""
    values = {
        **_values(request.application, APPLICATION.settable),
        "configuration_revision": mutation.revision,
        "state": ApplicationState.APPLICATION_STATE_INITIAL,
        "state_time": mutation.micros,
        "state_reason": "it is registered",
        "last_seen_time": None,
    }
    _check_eventing_runtime(tx, values)
    row = resource.create(tx, mutation, APPLICATION, values)
    labels.relabel(tx, APPLICATION, row["application_id"], labels.NONE, row["labels"])
    _record(mutation, Action.CREATE, row["application_id"])
    selectors.place(tx, mutation, Kind.APPLICATION, row["application_id"], request.application.labels)
    return CreateApplicationResponse(application=application_message(row))


def get_application(tx: Transaction, request: GetApplicationRequest) -> GetApplicationResponse:
    """Read an Application; raises `Refusal` (APPLICATION_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, Application.DESCRIPTOR)
    row = resource.get(tx, APPLICATION, request.application_id)
    return GetApplicationResponse(application=mask.apply(application_message(row)))


def list_applications(tx: Transaction, request: ListApplicationsRequest) -> ListApplicationsResponse:
    """Read a page of Applications; raises `Refusal` (FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID)."""
    listing = read_list(tx, APPLICATIONS, APPLICATION_SEARCH, request)
    return ListApplicationsResponse(
        applications=listing.messages(application_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_application(
    tx: Transaction, mutation: Mutation, request: UpdateApplicationRequest
) -> UpdateApplicationResponse:
    """Change an Application.

    Raises `Refusal` (APPLICATION_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN,
    RUNTIME_NOT_FOUND, LABEL_INVALID). What Runtimes do not know of it changes nothing of their configuration.
    """
    sent = request.application
    fields = resource.fields_to_set(APPLICATION, request.update_mask, sent)
    row = resource.get(tx, APPLICATION, sent.application_id)
    resource.check_etag(row, sent.etag)
    values = {name: value for name, value in _values(sent, fields).items() if value != row[name]}
    _check_eventing_runtime(tx, values)
    seen = ("configuration_revision",) if not _SEEN_BY_RUNTIMES.isdisjoint(values) else ()
    changed = resource.update(tx, mutation, APPLICATION, row, values, ("revision", *seen))
    if changed is not None:
        if labels.relabel(tx, APPLICATION, sent.application_id, row["labels"], changed["labels"]):
            selectors.relabelled(tx, mutation, Kind.APPLICATION, sent.application_id, sent.labels)
        _record(mutation, Action.UPDATE, sent.application_id)
    return UpdateApplicationResponse(application=application_message(changed or row))


def delete_application(
    tx: Transaction, mutation: Mutation, request: DeleteApplicationRequest
) -> DeleteApplicationResponse:
    """Remove an Application and all that hangs on it.

    Raises `Refusal` (APPLICATION_NOT_FOUND, ETAG_MISMATCH, RESOURCE_HELD).
    """
    id = request.application_id
    resource.check_etag(resource.get(tx, APPLICATION, id), request.etag)
    if not request.force:
        holds.check_application(tx, id)
    documents = specifications.keys_of(tx, id)
    leave_groups(tx, mutation, GROUP_APPLICATIONS, id)
    outbox.drop(tx, id)
    APPLICATIONS.delete(tx, id)
    specifications.drop_unused(tx, documents)
    departures.append(tx, Kind.APPLICATION, id, mutation.micros)
    _record(mutation, Action.DELETE, id)
    return DeleteApplicationResponse()


def application_message(row: Values) -> Application:
    """An Application as clients see it."""
    last_seen = row["last_seen_time"]
    return Application(
        application_id=row["application_id"],
        name=row["name"],
        description=row["description"],
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
        provider=row["provider"],
        labels=labels.from_json(row["labels"]),
        base_url=row["base_url"],
        health_url=row["health_url"],
        eventing_runtime_id=row["eventing_runtime_id"],
        state=row["state"],
        state_time=to_timestamp(row["state_time"]),
        state_reason=row["state_reason"],
        last_seen_time=to_timestamp(last_seen) if last_seen is not None else None,
    )


def _values(sent: Application, fields: Collection[str]) -> dict[str, Any]:
    """What of the fields that clients set is to be stored."""
    values = {name: getattr(sent, name) for name in fields}
    return {**values, "labels": labels.to_json(sent.labels)} if "labels" in values else values


def _check_eventing_runtime(tx: Transaction, values: Values) -> None:
    id = values.get("eventing_runtime_id")
    if id and RUNTIME.registry.find(tx, id) is None:
        raise resource.not_found(RUNTIME, id, field="application.eventing_runtime_id")


def _record(mutation: Mutation, action: Action, id: str) -> None:
    mutation.record(action, Kind.APPLICATION, id, application_id=id)

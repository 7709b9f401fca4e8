"""Applications: systems that offer APIs and events to the Runtimes they serve."""

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

from director import resource
from director.changes import Action, Kind, Mutation
from director.kinds import APPLICATION
from director.memberships import leave_groups
from director.store import Transaction, specifications
from director.store.groups import GROUP_APPLICATIONS
from director.store.registry import APPLICATIONS, Values
from director.times import to_timestamp
from director.webhooks import outbox
from mesh.paging import read_page


def create_application(
    tx: Transaction, mutation: Mutation, request: CreateApplicationRequest
) -> CreateApplicationResponse:
    """Register an Application; raises `Refusal` (NAME_TAKEN)."""
    values = {
        "name": request.application.name,
        "description": request.application.description,
        "configuration_revision": mutation.revision,
        "state": ApplicationState.APPLICATION_STATE_INITIAL,
        "state_time": mutation.micros,
    }
    row = resource.create(tx, mutation, APPLICATION, values)
    _record(mutation, Action.CREATE, row["application_id"])
    return CreateApplicationResponse(application=_message(row))


def get_application(tx: Transaction, request: GetApplicationRequest) -> GetApplicationResponse:
    """Read an Application; raises `Refusal` (APPLICATION_NOT_FOUND)."""
    return GetApplicationResponse(application=_message(resource.get(tx, APPLICATION, request.application_id)))


def list_applications(tx: Transaction, request: ListApplicationsRequest) -> ListApplicationsResponse:
    """Read a page of Applications by name; raises `Refusal` (PAGE_TOKEN_INVALID)."""
    page = read_page(request, lambda after, limit: APPLICATIONS.page(tx, after, limit), APPLICATIONS.place)
    return ListApplicationsResponse(
        applications=[_message(row) for row in page.rows], next_page_token=page.next_page_token
    )


def update_application(
    tx: Transaction, mutation: Mutation, request: UpdateApplicationRequest
) -> UpdateApplicationResponse:
    """Change an Application.

    Raises `Refusal` (APPLICATION_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN).
    """
    sent = request.application
    fields = resource.fields_to_set(APPLICATION, request.update_mask, sent)
    row = resource.get(tx, APPLICATION, sent.application_id)
    resource.check_etag(row, sent.etag)
    values = {name: getattr(sent, name) for name in fields}
    changed = resource.update(tx, mutation, APPLICATION, row, values, ("revision", "configuration_revision"))
    if changed is not None:
        _record(mutation, Action.UPDATE, sent.application_id)
    return UpdateApplicationResponse(application=_message(changed or row))


def delete_application(
    tx: Transaction, mutation: Mutation, request: DeleteApplicationRequest
) -> DeleteApplicationResponse:
    """Remove an Application and all that hangs on it; raises `Refusal` (APPLICATION_NOT_FOUND, ETAG_MISMATCH)."""
    id = request.application_id
    resource.check_etag(resource.get(tx, APPLICATION, id), request.etag)
    documents = specifications.keys_of(tx, id)
    leave_groups(tx, mutation, GROUP_APPLICATIONS, id)
    outbox.drop(tx, id)
    APPLICATIONS.delete(tx, id)
    specifications.drop_unused(tx, documents)
    _record(mutation, Action.DELETE, id)
    return DeleteApplicationResponse()


def _record(mutation: Mutation, action: Action, id: str) -> None:
    mutation.record(action, Kind.APPLICATION, id, application_id=id)


def _message(row: Values) -> Application:
    return Application(
        application_id=row["application_id"],
        name=row["name"],
        description=row["description"],
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
    )

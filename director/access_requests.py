"""Access requests: a Runtime asks an Application for a credential of its own, and the Application answers."""

from collections.abc import Mapping
from typing import Any

from moorage.director.v1.access_request_pb2 import (
    AccessRequest,
    AccessRequestState,
    AnswerAccessRequestRequest,
    AnswerAccessRequestResponse,
    CreateAccessRequestRequest,
    CreateAccessRequestResponse,
    DeleteAccessRequestRequest,
    DeleteAccessRequestResponse,
    ListAccessRequestsRequest,
    ListAccessRequestsResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from director import credentials, resource
from director.changes import Action, Kind, Mutation
from director.kinds import APPLICATION, RUNTIME
from director.store import Transaction, serving
from director.store import credentials as store
from director.store.registry import Values
from director.times import to_timestamp
from director.webhooks import outbox
from mesh.errors import Refusal
from mesh.paging import read_page
from mesh.sealing import Seal

_PENDING = AccessRequestState.ACCESS_REQUEST_STATE_PENDING
_SUPPLIED = AccessRequestState.ACCESS_REQUEST_STATE_SUPPLIED
_REFUSED = AccessRequestState.ACCESS_REQUEST_STATE_REFUSED


def create_access_request(
    tx: Transaction, mutation: Mutation, request: CreateAccessRequestRequest
) -> CreateAccessRequestResponse:
    """Ask for a credential; one that is asked for already is asked for once.

    Raises `Refusal` (RUNTIME_NOT_FOUND, APPLICATION_NOT_FOUND, API_NOT_FOUND, BUNDLE_NOT_FOUND, NOT_SERVED).
    """
    sent = request.access_request
    for kind, id in ((RUNTIME, sent.runtime_id), (APPLICATION, sent.application_id)):
        if kind.registry.find(tx, id) is None:
            raise resource.not_found(kind, id, f"access_request.{kind.registry.key}")
    target_kind, target_id = credentials.require_target(tx, sent.application_id, sent, "access_request")
    if not serving.is_served(tx, sent.application_id, sent.runtime_id):
        raise Refusal(
            Reason.REASON_NOT_SERVED,
            f"application {sent.application_id} does not serve runtime {sent.runtime_id}",
            field="access_request.application_id",
        )
    row = store.find_pending(tx, sent.runtime_id, target_id, _PENDING)
    if row is None:
        row = {
            "access_request_id": mutation.new_id(),
            "runtime_id": sent.runtime_id,
            "application_id": sent.application_id,
            "target_id": target_id,
            "target_kind": target_kind,
            "purpose": sent.purpose,
            "state": _PENDING,
            "refusal": "",
            "create_time": mutation.micros,
            "answer_time": None,
            "revision": mutation.revision,
        }
        store.insert_request(tx, row)
        _record(mutation, Action.CREATE, row)
        outbox.access_requested(tx, mutation, row["application_id"], _told(row))
    return CreateAccessRequestResponse(access_request=_message(row))


def list_access_requests(tx: Transaction, request: ListAccessRequestsRequest) -> ListAccessRequestsResponse:
    """Read a page of requests, oldest first; raises `Refusal` (PAGE_TOKEN_INVALID)."""
    asked = {"application_id": request.application_id, "runtime_id": request.runtime_id, "state": request.state}
    within = {name: value for name, value in asked.items() if value}
    page = read_page(
        request,
        lambda after, limit: store.page_of_requests(tx, within, _place(after), limit),
        lambda row: (row["create_time"], row["access_request_id"]),
        types=(int, str),
    )
    return ListAccessRequestsResponse(
        access_requests=[_message(row) for row in page.rows], next_page_token=page.next_page_token
    )


def answer_access_request(
    tx: Transaction, mutation: Mutation, request: AnswerAccessRequestRequest, seal: Seal
) -> AnswerAccessRequestResponse:
    """Supply the credential, which becomes the Runtime's own, or refuse it.

    Raises `Refusal` (ACCESS_REQUEST_NOT_FOUND, ACCESS_REQUEST_ANSWERED; FIELD_INVALID for a certificate that is none).
    """
    row = _existing(tx, request.access_request_id, "application_id", request.application_id)
    if row["state"] != _PENDING:
        raise Refusal(Reason.REASON_ACCESS_REQUEST_ANSWERED, "the request was answered before")
    supplied = request.WhichOneof("answer") == "supplied"
    if supplied:
        where = (row["application_id"], row["target_kind"], row["target_id"], row["runtime_id"])
        credentials.keep(tx, mutation, seal, where, request.supplied, "supplied")
    answer = {
        "state": _SUPPLIED if supplied else _REFUSED,
        "refusal": request.refusal,
        "answer_time": mutation.micros,
        "revision": mutation.revision,
    }
    store.answer_request(tx, row["access_request_id"], answer)
    _record(mutation, Action.UPDATE, row)
    return AnswerAccessRequestResponse(access_request=_message({**row, **answer}))


def delete_access_request(
    tx: Transaction, mutation: Mutation, request: DeleteAccessRequestRequest
) -> DeleteAccessRequestResponse:
    """Withdraw a request, with the credential that was supplied for it; raises `Refusal` (ACCESS_REQUEST_NOT_FOUND).

    What was supplied for a later request took the place of that credential, and stays.
    """
    row = _existing(tx, request.access_request_id, "runtime_id", request.runtime_id)
    last_supplied = store.find_last_answered(tx, row["runtime_id"], row["target_id"], _SUPPLIED)
    store.drop_request(tx, row["access_request_id"])
    if row == last_supplied:
        credentials.forget(tx, mutation, row["application_id"], row["target_id"], row["runtime_id"])
    _record(mutation, Action.DELETE, row)
    return DeleteAccessRequestResponse()


def _existing(tx: Transaction, id: str, whose: str, owner: str) -> Values:
    row = store.find_request(tx, id)
    if row is None or row[whose] != owner:
        raise Refusal(
            Reason.REASON_ACCESS_REQUEST_NOT_FOUND, f"there is no access request {id}", field="access_request_id"
        )
    return row


def _record(mutation: Mutation, action: Action, row: Values) -> None:
    mutation.record(action, Kind.ACCESS_REQUEST, row["access_request_id"], application_id=row["application_id"])


def _told(row: Values) -> Mapping[str, str]:
    """What the Application is told by webhook."""
    return {
        "access_request_id": row["access_request_id"],
        "runtime_id": row["runtime_id"],
        credentials.target_field(row["target_kind"]): row["target_id"],
    }


def _place(after: tuple[str | int, ...] | None) -> tuple[int, str] | None:
    return (int(after[0]), str(after[1])) if after is not None else None


def _message(row: Values) -> AccessRequest:
    target: dict[str, Any] = {credentials.target_field(row["target_kind"]): row["target_id"]}
    answered = row["answer_time"]
    return AccessRequest(
        access_request_id=row["access_request_id"],
        runtime_id=row["runtime_id"],
        application_id=row["application_id"],
        purpose=row["purpose"],
        state=row["state"],
        refusal=row["refusal"],
        create_time=to_timestamp(row["create_time"]),
        answer_time=to_timestamp(answered) if answered is not None else None,
        revision=row["revision"],
        **target,
    )

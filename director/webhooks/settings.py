"""Where an Application hears of its Runtimes. The secret goes in, sealed, and never comes out by the API."""

from typing import Any

from moorage.director.v1.webhook_pb2 import (
    DeleteWebhookRequest,
    DeleteWebhookResponse,
    GetWebhookRequest,
    GetWebhookResponse,
    UpdateWebhookRequest,
    UpdateWebhookResponse,
    Webhook,
)
from moorage.errors.v1.errors_pb2 import Reason

from director.changes import Action, Kind, Mutation
from director.store import Transaction, notices, views
from director.store.registry import Values
from director.times import to_timestamp
from director.webhooks import outbox
from mesh.errors import Refusal
from mesh.sealing import Seal


def get_webhook(tx: Transaction, request: GetWebhookRequest) -> GetWebhookResponse:
    """Read an Application's webhook; raises `Refusal` (APPLICATION_NOT_FOUND, WEBHOOK_NOT_FOUND)."""
    return GetWebhookResponse(webhook=_message(tx, _existing(tx, request.application_id)))


def update_webhook(
    tx: Transaction, mutation: Mutation, request: UpdateWebhookRequest, seal: Seal
) -> UpdateWebhookResponse:
    """Set an Application's webhook.

    Raises `Refusal` (APPLICATION_NOT_FOUND, and FIELD_INVALID where a first one comes without a secret).
    """
    sent = request.webhook
    _require_application(tx, sent.application_id)
    if not sent.secret and notices.find_webhook(tx, sent.application_id) is None:
        raise Refusal(Reason.REASON_FIELD_INVALID, "a webhook's first secret must be set", field="webhook.secret")
    values: dict[str, Any] = {"url": sent.url, "update_time": mutation.micros}
    if sent.secret:
        values["sealed_secret"] = seal.seal(sent.secret.encode(), sent.application_id)
    notices.store_webhook(tx, sent.application_id, values)
    mutation.record(Action.UPDATE, Kind.WEBHOOK, sent.application_id)
    return UpdateWebhookResponse(webhook=_message(tx, _existing(tx, sent.application_id)))


def delete_webhook(tx: Transaction, mutation: Mutation, request: DeleteWebhookRequest) -> DeleteWebhookResponse:
    """Remove an Application's webhook and the notices that wait.

    Raises `Refusal` (APPLICATION_NOT_FOUND, WEBHOOK_NOT_FOUND).
    """
    _existing(tx, request.application_id)
    notices.delete_webhook(tx, request.application_id)
    outbox.drop(tx, request.application_id)
    mutation.record(Action.DELETE, Kind.WEBHOOK, request.application_id)
    return DeleteWebhookResponse()


def _existing(tx: Transaction, application_id: str) -> Values:
    _require_application(tx, application_id)
    row = notices.find_webhook(tx, application_id)
    if row is None:
        raise Refusal(
            Reason.REASON_WEBHOOK_NOT_FOUND,
            f"application {application_id} has no webhook",
            field="application_id",
        )
    return row


def _require_application(tx: Transaction, application_id: str) -> None:
    if not views.application_exists(tx, application_id):
        raise Refusal(
            Reason.REASON_APPLICATION_NOT_FOUND, f"there is no application {application_id}", field="application_id"
        )


def _message(tx: Transaction, row: Values) -> Webhook:
    counts = notices.counts(tx, row["application_id"])
    webhook = Webhook(
        application_id=row["application_id"],
        url=row["url"],
        update_time=to_timestamp(row["update_time"]),
        pending_notices=counts.get(notices.WAITING, 0),
        failed_notices=counts.get(notices.FAILED, 0),
        last_failure=row["last_failure"],
    )
    for field in ("last_success_time", "last_failure_time"):
        if row[field] is not None:
            getattr(webhook, field).CopyFrom(to_timestamp(row[field]))
    return webhook

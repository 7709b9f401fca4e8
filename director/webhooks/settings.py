"""Where an Application hears of its Runtimes and takes its tokens. The secret goes in, sealed, and never comes out."""

import base64
import binascii
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
from director.store import Transaction, notices
from director.store.registry import APPLICATIONS, Values
from director.times import to_timestamp
from director.webhooks import outbox
from mesh.errors import Refusal
from mesh.sealing import Seal

_LEAST_SECRET, _MOST_SECRET = 24, 64
"""Bytes of a signing secret, by the Standard Webhooks specification."""


def get_webhook(tx: Transaction, request: GetWebhookRequest) -> GetWebhookResponse:
    """Read an Application's webhook; raises `Refusal` (APPLICATION_NOT_FOUND, WEBHOOK_NOT_FOUND)."""
    return GetWebhookResponse(webhook=_message(tx, _existing(tx, request.application_id)))


def update_webhook(
    tx: Transaction, mutation: Mutation, request: UpdateWebhookRequest, seal: Seal
) -> UpdateWebhookResponse:
    """Set an Application's webhook. Where that changes nothing, it takes no revision.

    Raises `Refusal` (APPLICATION_NOT_FOUND, and FIELD_INVALID where the first secret is missing or one is malformed).
    """
    sent = request.webhook
    require_application(tx, sent.application_id)
    stored = notices.find_webhook(tx, sent.application_id)
    if stored is None and not sent.secret:
        raise Refusal(Reason.REASON_FIELD_INVALID, "a webhook's first secret must be set", field="webhook.secret")
    places = {"url": sent.url, "pairing_url": sent.pairing_url}
    if stored is None or sent.secret or places != {name: stored[name] for name in places}:
        values: dict[str, Any] = {**places, "update_time": mutation.micros}
        if sent.secret:
            values["sealed_secret"] = seal.seal(tx, _checked(sent.secret).encode(), sent.application_id)
        notices.store_webhook(tx, sent.application_id, values)
        mutation.record(Action.UPDATE if stored else Action.CREATE, Kind.WEBHOOK, sent.application_id)
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


def require_application(tx: Transaction, application_id: str) -> None:
    """Raise `Refusal` (APPLICATION_NOT_FOUND) unless there is such an Application."""
    if not APPLICATIONS.present(tx, [application_id]):
        raise Refusal(
            Reason.REASON_APPLICATION_NOT_FOUND, f"there is no application {application_id}", field="application_id"
        )


def _checked(secret: str) -> str:
    """The secret, if it is one: its pattern in the contract does not tell whole base64 from broken."""
    try:
        length = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        length = 0
    if not _LEAST_SECRET <= length <= _MOST_SECRET:
        rule = f"must be whsec_ and {_LEAST_SECRET} to {_MOST_SECRET} bytes in standard base64"
        raise Refusal(Reason.REASON_FIELD_INVALID, rule, field="webhook.secret")
    return secret


def _existing(tx: Transaction, application_id: str) -> Values:
    require_application(tx, application_id)
    row = notices.find_webhook(tx, application_id)
    if row is None:
        raise Refusal(
            Reason.REASON_WEBHOOK_NOT_FOUND,
            f"application {application_id} has no webhook",
            field="application_id",
        )
    return row


def _message(tx: Transaction, row: Values) -> Webhook:
    counts = notices.counts(tx, row["application_id"])
    webhook = Webhook(
        application_id=row["application_id"],
        url=row["url"],
        pairing_url=row["pairing_url"],
        update_time=to_timestamp(row["update_time"]),
        pending_notices=counts.get(notices.WAITING, 0),
        failed_notices=counts.get(notices.FAILED, 0),
        last_failure=row["last_failure"],
    )
    for field in ("last_success_time", "last_failure_time"):
        if row[field] is not None:
            getattr(webhook, field).CopyFrom(to_timestamp(row[field]))
    return webhook

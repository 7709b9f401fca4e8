"""The outbox: notices are written in the transaction of the change that they are about, so none is lost or made up."""

import json
from collections.abc import Collection
from enum import StrEnum
from typing import Any

from director.changes import Mutation
from director.store import Transaction, notices
from director.store.registry import Values
from director.times import to_timestamp

MOST_RUNTIMES = 100
"""Runtimes that one notice names. Where there were more it says so: what counts is read from the view anyway."""


class NoticeType(StrEnum):
    """What a notice is about; its `type` in the body."""

    RUNTIME_READY = "RUNTIME_READY"
    CONFIGURATION_CHANGED = "CONFIGURATION_CHANGED"


def runtime_ready(tx: Transaction, mutation: Mutation, application_ids: Collection[str], runtime: Values) -> None:
    """Tell those of the Applications that have a webhook that a Runtime they serve is ready for the first time."""
    told = {"runtime_id": runtime["runtime_id"], "name": runtime["name"], "event_url": runtime["event_url"]}
    _write(tx, mutation, NoticeType.RUNTIME_READY, application_ids, {"runtime": told})


def configuration_changed(
    tx: Transaction, mutation: Mutation, application_ids: Collection[str], runtime_ids: Collection[str]
) -> None:
    """Tell those of the Applications that have a webhook that Runtimes they serve came, went or altered.

    Nothing is written where no Runtime is concerned.
    """
    if not runtime_ids:
        return
    named = sorted(runtime_ids)[:MOST_RUNTIMES]
    data = {"runtime_ids": named, "more": len(runtime_ids) > len(named)}
    _write(tx, mutation, NoticeType.CONFIGURATION_CHANGED, application_ids, data)


def drop(tx: Transaction, application_id: str) -> None:
    """Forget the notices of an Application that goes, or that wants none."""
    notices.delete_of(tx, application_id)


def _write(
    tx: Transaction, mutation: Mutation, type: NoticeType, application_ids: Collection[str], data: dict[str, Any]
) -> None:
    rows = [
        {
            "notice_id": mutation.new_id(),
            "application_id": application_id,
            "type": type.value,
            "body": _body(mutation, type, {"application_id": application_id, "revision": mutation.revision, **data}),
            "revision": mutation.revision,
            "create_time": mutation.micros,
        }
        for application_id in notices.with_webhook(tx, application_ids)
    ]
    notices.append(tx, rows)


def _body(mutation: Mutation, type: NoticeType, data: dict[str, Any]) -> str:
    # The form that the Standard Webhooks specification recommends.
    body = {"type": type.value, "timestamp": to_timestamp(mutation.micros).ToJsonString(), "data": data}
    return json.dumps(body, separators=(",", ":"))

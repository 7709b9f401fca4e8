"""The outbox: notices are written in the transaction of the change that they are about, so none is lost or made up."""

import json
from collections.abc import Collection, Mapping
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
    ACCESS_REQUESTED = "ACCESS_REQUESTED"


def runtime_ready(tx: Transaction, mutation: Mutation, application_ids: Collection[str], runtime: Values) -> None:
    """Tell those of the Applications that have a webhook that a Runtime they serve is ready for the first time."""
    told = {"runtime_id": runtime["runtime_id"], "name": runtime["name"], "event_url": runtime["event_url"]}
    listeners = notices.with_webhook(tx, application_ids)
    _append(tx, mutation, NoticeType.RUNTIME_READY, {id: {"runtime": told} for id in listeners})


def access_requested(tx: Transaction, mutation: Mutation, application_id: str, request: Mapping[str, str]) -> None:
    """Tell an Application, where it has a webhook, that a Runtime asks it for a credential."""
    told = {id: {"access_request": dict(request)} for id in notices.with_webhook(tx, [application_id])}
    _append(tx, mutation, NoticeType.ACCESS_REQUESTED, told)


def configuration_changed(mutation: Mutation, application_ids: Collection[str], runtime_ids: Collection[str]) -> None:
    """Note that Runtimes which these Applications serve came, went or altered.

    Each hears of all that a mutation did to its Runtimes by one notice, which `write` makes.
    """
    if application_ids and runtime_ids:
        mutation.concerns.append((application_ids, runtime_ids))


def write(tx: Transaction, mutation: Mutation) -> None:
    """Tell those of the Applications that have a webhook what was noted of their Runtimes, as the mutation ends."""
    if not mutation.concerns:
        return
    listeners = set(notices.with_webhook(tx, set[str]().union(*(ids for ids, _ in mutation.concerns))))
    concerned: dict[str, set[str]] = {}
    for application_ids, runtime_ids in mutation.concerns:
        for application_id in listeners.intersection(application_ids):
            concerned.setdefault(application_id, set()).update(runtime_ids)
    _append(tx, mutation, NoticeType.CONFIGURATION_CHANGED, {id: _named(ids) for id, ids in concerned.items()})


def drop(tx: Transaction, application_id: str) -> None:
    """Forget the notices of an Application that goes, or that wants none."""
    notices.delete_of(tx, application_id)


def _named(runtime_ids: Collection[str]) -> dict[str, Any]:
    named = sorted(runtime_ids)[:MOST_RUNTIMES]
    return {"runtime_ids": named, "more": len(runtime_ids) > len(named)}


def _append(tx: Transaction, mutation: Mutation, type: NoticeType, told: Mapping[str, dict[str, Any]]) -> None:
    """Write a notice for each Application in `told`, with what it is told."""
    rows = [
        {
            "notice_id": mutation.new_id(),
            "application_id": application_id,
            "type": type.value,
            "body": _body(mutation, type, {"application_id": application_id, "revision": mutation.revision, **data}),
            "revision": mutation.revision,
            "create_time": mutation.micros,
        }
        for application_id, data in told.items()
    ]
    notices.append(tx, rows)


def _body(mutation: Mutation, type: NoticeType, data: dict[str, Any]) -> str:
    # The form that the Standard Webhooks specification recommends.
    body = {"type": type.value, "timestamp": to_timestamp(mutation.micros).ToJsonString(), "data": data}
    return json.dumps(body, separators=(",", ":"))

"""Setting, reading and removing an Application's webhook."""

import base64
from functools import partial

import pytest
from moorage.director.v1.webhook_pb2 import (
    DeleteWebhookRequest,
    GetWebhookRequest,
    UpdateWebhookRequest,
    Webhook,
)
from moorage.errors.v1.errors_pb2 import Reason

from director.store import tables
from director.webhooks.settings import delete_webhook, get_webhook, update_webhook
from mesh.errors import Refusal
from mesh.sealing import Seal
from tests.unit.director.plane import Plane, new_id

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
URL = "https://app.test/notices"


def set_webhook(plane: Plane, seal: Seal, application_id: str, url: str = URL, secret: str = SECRET) -> Webhook:
    request = UpdateWebhookRequest(webhook=Webhook(application_id=application_id, url=url, secret=secret))
    return plane.change(partial(update_webhook, seal=seal), request).webhook


def read(plane: Plane, application_id: str) -> Webhook:
    return plane.read(get_webhook, GetWebhookRequest(application_id=application_id)).webhook


def stored_secret(plane: Plane, seal: Seal) -> str:
    [row] = plane.rows(tables.webhooks)
    with plane.transaction() as tx:
        return seal.unseal(tx, row["sealed_secret"], row["application_id"]).decode()


def test_a_webhook_is_created_by_setting_it(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    webhook = set_webhook(plane, seal, id)
    assert (webhook.application_id, webhook.url) == (id, URL)
    assert webhook == read(plane, id)


def test_the_secret_is_never_returned_and_never_stored_in_the_clear(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    assert set_webhook(plane, seal, id).secret == ""
    assert read(plane, id).secret == ""
    [row] = plane.rows(tables.webhooks)
    assert SECRET.encode() not in row["sealed_secret"]
    assert stored_secret(plane, seal) == SECRET


def test_a_first_webhook_without_a_secret_is_refused(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    with pytest.raises(Refusal) as refused:
        set_webhook(plane, seal, id, secret="")
    assert refused.value.reason == Reason.REASON_FIELD_INVALID
    assert [each.field for each in refused.value.violations] == ["webhook.secret"]


def test_a_change_without_a_secret_keeps_the_one_that_is_stored(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    set_webhook(plane, seal, id)
    assert set_webhook(plane, seal, id, url="https://elsewhere.test", secret="").url == "https://elsewhere.test"
    assert stored_secret(plane, seal) == SECRET


def test_a_new_secret_takes_the_place_of_the_old_one(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    set_webhook(plane, seal, id)
    new = "whsec_" + base64.b64encode(bytes(24)).decode()
    set_webhook(plane, seal, id, secret=new)
    assert stored_secret(plane, seal) == new


@pytest.mark.parametrize(
    "secret",
    ["whsec_" + "A" * 33, "whsec_" + base64.b64encode(bytes(66)).decode(), "whsec_" + "A" * 34 + "=="[:1]],
    ids=["cut off", "too long", "badly padded"],
)
def test_a_secret_that_is_no_base64_of_the_right_length_is_refused_without_being_shown(
    plane: Plane, seal: Seal, secret: str
) -> None:
    id = plane.application().application_id
    with pytest.raises(Refusal) as refused:
        set_webhook(plane, seal, id, secret=secret)
    assert refused.value.reason == Reason.REASON_FIELD_INVALID
    assert secret not in str(refused.value)
    assert plane.rows(tables.webhooks) == []


def test_where_tokens_are_taken_is_set_moved_and_left_out_again(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    for pairing_url in ("https://app.test/pairing", "https://elsewhere.test/pairing", ""):
        before = plane.revision
        webhook = Webhook(application_id=id, url=URL, secret=SECRET, pairing_url=pairing_url)
        plane.change(partial(update_webhook, seal=seal), UpdateWebhookRequest(webhook=webhook))
        assert read(plane, id).pairing_url == pairing_url
        assert plane.revision > before


def test_setting_what_is_set_already_changes_nothing(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    first = set_webhook(plane, seal, id)
    revision = plane.revision
    assert set_webhook(plane, seal, id, secret="") == first
    assert plane.revision == revision


def test_setting_or_removing_a_webhook_takes_a_revision(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    before = plane.revision
    set_webhook(plane, seal, id)
    set_webhook(plane, seal, id, url="https://elsewhere.test", secret="")
    plane.change(delete_webhook, DeleteWebhookRequest(application_id=id))
    changes = plane.changes_since(before)
    assert [(each.action, each.kind, each.resource_id) for each in changes] == [
        ("CREATE", "WEBHOOK", id),
        ("UPDATE", "WEBHOOK", id),
        ("DELETE", "WEBHOOK", id),
    ]


def test_there_is_no_webhook_for_an_unknown_application(plane: Plane, seal: Seal) -> None:
    for call in (
        lambda: set_webhook(plane, seal, new_id()),
        lambda: read(plane, new_id()),
        lambda: plane.change(delete_webhook, DeleteWebhookRequest(application_id=new_id())),
    ):
        with pytest.raises(Refusal) as refused:
            call()
        assert refused.value.reason == Reason.REASON_APPLICATION_NOT_FOUND


def test_a_webhook_that_was_never_set_is_not_found(plane: Plane) -> None:
    id = plane.application().application_id
    for call in (
        lambda: read(plane, id),
        lambda: plane.change(delete_webhook, DeleteWebhookRequest(application_id=id)),
    ):
        with pytest.raises(Refusal) as refused:
            call()
        assert refused.value.reason == Reason.REASON_WEBHOOK_NOT_FOUND


def test_the_webhook_tells_how_many_notices_wait(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    set_webhook(plane, seal, id)
    group = plane.group(application_ids=[id])
    plane.runtime(group_ids=[group.group_id])
    plane.runtime(group_ids=[group.group_id])
    assert read(plane, id).pending_notices == 2
    assert read(plane, id).failed_notices == 0


def test_removing_a_webhook_drops_the_notices_that_wait(plane: Plane, seal: Seal) -> None:
    id = plane.application().application_id
    set_webhook(plane, seal, id)
    group = plane.group(application_ids=[id])
    plane.runtime(group_ids=[group.group_id])
    plane.change(delete_webhook, DeleteWebhookRequest(application_id=id))
    assert plane.rows(tables.notices) == []
    plane.runtime(group_ids=[group.group_id])
    assert plane.rows(tables.notices) == []

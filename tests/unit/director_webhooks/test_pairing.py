"""Handing a one-time token to its Application: once, signed, and kept nowhere."""

import json
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1.webhook_pb2 import DeliverTokenRequest, UpdateWebhookRequest, Webhook
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import select, update

from director.pairing import Pairing
from director.store import tables
from director.webhooks.post import Posted
from director.webhooks.settings import update_webhook
from mesh.errors import Refusal
from mesh.sealing import Seal
from tests.unit.director.plane import Plane, new_id
from tests.unit.director_webhooks.test_settings import SECRET, URL

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EXPIRES = Timestamp(seconds=1_893_459_600)
PAIRING_URL = "https://app.test/pairing"
TOKEN = "moor_abcdefghijklmnopqrstuvwxyz"


class Receiver:
    """Answers as it is told."""

    def __init__(self, answer: Posted) -> None:
        self._answer = answer
        self.sent: list[tuple[str, str, str, str, datetime]] = []

    async def __call__(self, *sent: Any) -> Posted:
        self.sent.append(sent)
        return self._answer


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(Posted(failure=""))


@pytest.fixture
def pairing(plane: Plane, seal: Seal, receiver: Receiver) -> Pairing:
    return Pairing(plane.database, seal, receiver, lambda: NOW)


def application(plane: Plane, seal: Seal, pairing_url: str = PAIRING_URL) -> str:
    id = plane.application().application_id
    webhook = Webhook(application_id=id, url=URL, secret=SECRET, pairing_url=pairing_url)
    plane.change(partial(update_webhook, seal=seal), UpdateWebhookRequest(webhook=webhook))
    return id


def request(application_id: str, token: str = TOKEN) -> DeliverTokenRequest:
    return DeliverTokenRequest(application_id=application_id, token_id=new_id(), token=token, expire_time=EXPIRES)


async def test_a_token_is_posted_to_the_pairing_url_and_signed_as_notices_are(
    plane: Plane, seal: Seal, pairing: Pairing, receiver: Receiver
) -> None:
    id = application(plane, seal)
    asked = request(id)

    answer = await pairing.deliver(asked)

    assert (answer.delivered, answer.failure) == (True, "")
    assert answer.attempt_time.ToJsonString() == "2030-01-01T00:00:00Z"
    [(message_id, url, body, secret, at)] = receiver.sent
    assert (message_id, url, secret, at) == (asked.token_id, PAIRING_URL, SECRET, NOW)
    assert json.loads(body) == {
        "type": "PAIRING_TOKEN",
        "timestamp": "2030-01-01T00:00:00Z",
        "data": {
            "application_id": id,
            "token_id": asked.token_id,
            "token": TOKEN,
            "expire_time": "2030-01-01T01:00:00Z",
        },
    }


async def test_a_webhook_that_does_not_take_it_is_a_failure_in_one_line_and_is_not_tried_again(
    plane: Plane, seal: Seal
) -> None:
    receiver = Receiver(Posted(failure="answered\n500"))
    answer = await Pairing(plane.database, seal, receiver, lambda: NOW).deliver(request(application(plane, seal)))

    assert (answer.delivered, answer.failure) == (False, "answered 500")
    assert len(receiver.sent) == 1


async def test_without_a_token_nothing_is_posted(
    plane: Plane, seal: Seal, pairing: Pairing, receiver: Receiver
) -> None:
    await pairing.deliver(request(application(plane, seal), token=""))

    assert receiver.sent == []


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_an_application_without_a_pairing_url_or_without_a_webhook_is_refused(
    plane: Plane, seal: Seal, pairing: Pairing, receiver: Receiver, token: str
) -> None:
    for id in (application(plane, seal, pairing_url=""), plane.application().application_id):
        with pytest.raises(Refusal) as refused:
            await pairing.deliver(request(id, token))
        assert refused.value.reason == Reason.REASON_PAIRING_URL_MISSING
    assert receiver.sent == []


async def test_an_unknown_application_is_not_found(pairing: Pairing) -> None:
    with pytest.raises(Refusal) as refused:
        await pairing.deliver(request(new_id()))
    assert refused.value.reason == Reason.REASON_APPLICATION_NOT_FOUND


@pytest.mark.parametrize(
    "time", [Timestamp(seconds=253402300800), Timestamp(seconds=-1), Timestamp(seconds=1, nanos=10**9)]
)
async def test_an_end_that_is_no_time_is_refused(plane: Plane, seal: Seal, pairing: Pairing, time: Timestamp) -> None:
    asked = request(application(plane, seal))
    asked.expire_time.CopyFrom(time)

    with pytest.raises(Refusal) as refused:
        await pairing.deliver(asked)

    assert refused.value.reason == Reason.REASON_FIELD_INVALID
    assert [each.field for each in refused.value.violations] == ["expire_time"]


async def test_a_secret_that_cannot_be_read_is_a_failure_that_says_what_to_do(
    plane: Plane, seal: Seal, pairing: Pairing, receiver: Receiver
) -> None:
    id = application(plane, seal)
    with plane.transaction() as tx:
        tx.execute(update(tables.webhooks).values(sealed_secret=b"broken"))

    answer = await pairing.deliver(request(id))

    assert not answer.delivered
    assert "set it again" in answer.failure
    assert receiver.sent == []


@pytest.mark.check("trust-11")
async def test_a_token_that_is_handed_over_is_in_no_table_and_no_log(
    plane: Plane, seal: Seal, pairing: Pairing, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        await pairing.deliver(request(application(plane, seal)))

    with plane.transaction() as tx:
        stored = [repr(tuple(row)) for table in tables.metadata.sorted_tables for row in tx.execute(select(table))]
    assert stored
    assert not [row for row in stored if TOKEN in row]
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(capfd.readouterr())

"""The demo's webhook takes a notice only with a valid signature."""

import datetime
from collections.abc import AsyncIterator

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from cli.demo.receiver import WebhookReceiver
from cli.demo.report import StepFailed

BODY = '{"type": "RUNTIME_READY", "data": {"runtime_id": "r"}}'


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    receiver.open()
    yield receiver
    await receiver.close()


async def post(receiver: WebhookReceiver, *, secret: str, body: str = BODY, notice_id: str = "msg_1") -> int:
    now = datetime.datetime.now(datetime.UTC)
    headers = {
        "webhook-id": notice_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(notice_id, now, BODY),
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(receiver.url, content=body, headers=headers)).status_code


async def test_a_signed_notice_is_taken(receiver: WebhookReceiver) -> None:
    assert await post(receiver, secret=receiver.secret) == 204
    notice = await receiver.wait_for("notice", lambda notice: notice.type == "RUNTIME_READY", deadline=5)
    assert notice.body["data"] == {"runtime_id": "r"}


async def test_a_notice_signed_with_another_secret_is_refused(receiver: WebhookReceiver) -> None:
    assert await post(receiver, secret=WebhookReceiver().secret) == 400
    with pytest.raises(StepFailed, match="nothing came, 1 were refused"):
        await receiver.wait_for("notice", lambda _: True, deadline=0.05)


async def test_a_notice_whose_body_was_changed_is_refused(receiver: WebhookReceiver) -> None:
    assert await post(receiver, secret=receiver.secret, body=BODY.replace("READY", "GONE ")) == 400


async def test_a_notice_that_comes_twice_is_one_notice(receiver: WebhookReceiver) -> None:
    for _ in range(2):
        assert await post(receiver, secret=receiver.secret) == 204
    await post(receiver, secret=receiver.secret, notice_id="msg_2")
    second = await receiver.wait_for("another", lambda notice: notice.id != "msg_1", deadline=5)
    assert second.id == "msg_2"

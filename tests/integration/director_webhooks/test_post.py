"""One notice over real HTTP."""

import base64
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from director.webhooks.post import HttpPost
from tests.integration.director_webhooks.receiver import Receiver, receiving

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"type":"RUNTIME_READY","data":{"name":"läuft"}}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def post() -> AsyncIterator[HttpPost]:
    post = HttpPost(connect_timeout=2.0, answer_timeout=0.5)
    yield post
    await post.close()


async def test_a_receiver_can_verify_the_signature_and_no_other_secret_does(post: HttpPost, receiver: Receiver) -> None:
    posted = await post("notice-1", f"{receiver.url}/in", BODY, SECRET, datetime.now(UTC))
    assert posted.arrived
    [request] = receiver.received
    assert request.body.decode() == BODY
    assert request.headers["webhook-id"] == "notice-1"
    assert request.headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(request.body, request.headers)["type"] == "RUNTIME_READY"
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(request.body, request.headers)


@pytest.mark.parametrize(("status", "gone"), [(500, False), (404, False), (410, True)])
async def test_an_answer_that_is_no_success_is_a_failure(
    post: HttpPost, receiver: Receiver, status: int, gone: bool
) -> None:
    receiver.statuses["/in"] = status
    posted = await post("notice-1", f"{receiver.url}/in", BODY, SECRET, datetime.now(UTC))
    assert not posted.arrived
    assert (posted.failure, posted.gone) == (f"answered {status}", gone)


async def test_a_redirect_is_a_failure_and_is_not_followed(post: HttpPost, receiver: Receiver) -> None:
    receiver.statuses["/in"] = 307
    posted = await post("notice-1", f"{receiver.url}/in", BODY, SECRET, datetime.now(UTC))
    assert posted.failure == "answered 307"
    assert [request.path for request in receiver.received] == ["/in"]


async def test_a_receiver_that_does_not_answer_in_time_is_a_failure(post: HttpPost, receiver: Receiver) -> None:
    receiver.held.add("/in")
    posted = await post("notice-1", f"{receiver.url}/in", BODY, SECRET, datetime.now(UTC))
    assert not posted.arrived
    assert not posted.gone


async def test_an_answer_that_trickles_in_is_given_up_in_time(post: HttpPost, receiver: Receiver) -> None:
    receiver.trickled.add("/in")
    posted = await post("notice-1", f"{receiver.url}/in", BODY, SECRET, datetime.now(UTC))
    assert posted.failure == "no answer within 0.5 s"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"])
async def test_a_receiver_in_a_denied_network_gets_nothing_by_whatever_name(receiver: Receiver, host: str) -> None:
    post = HttpPost(("10.0.0.0/8", "127.0.0.0/8", "::1/128"))
    url = receiver.url.replace("127.0.0.1", host) + "/in"
    posted = await post("notice-1", url, BODY, SECRET, datetime.now(UTC))
    await post.close()
    assert "the operator lets no notice go" in posted.failure
    assert receiver.received == []


async def test_a_receiver_in_no_denied_network_is_reached(receiver: Receiver) -> None:
    post = HttpPost(("10.0.0.0/8", "169.254.0.0/16", "fe80::/10"))
    assert (await post("notice-1", f"{receiver.url}/in", BODY, SECRET, datetime.now(UTC))).arrived
    await post.close()


def test_a_denied_network_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/33"):
        HttpPost(("10.0.0.0/33",))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/in", "http://no-such-host.invalid/in", "http://[broken/in"])
async def test_a_receiver_that_cannot_be_reached_is_a_failure_that_names_no_secret(post: HttpPost, url: str) -> None:
    posted = await post("notice-1", url, BODY, SECRET, datetime.now(UTC))
    assert not posted.arrived
    assert SECRET not in posted.failure

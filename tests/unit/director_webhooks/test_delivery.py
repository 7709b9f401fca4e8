"""How notices are tried: what settles them, what is tried again, and that nobody holds up another."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from moorage.director.v1.webhook_pb2 import (
    DeleteWebhookRequest,
    GetWebhookRequest,
    UpdateWebhookRequest,
    Webhook,
)
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import update

from director.store import notices, tables
from director.webhooks import delivery as delivery_module
from director.webhooks.delivery import Delivery, Patience
from director.webhooks.post import Posted
from director.webhooks.settings import delete_webhook, get_webhook, update_webhook
from mesh.durable import Durable, Json, Workflow
from mesh.errors import Refusal
from mesh.sealing import Seal
from tests.support.sealing import sealing
from tests.unit.director.plane import Plane
from tests.unit.director_webhooks.test_settings import SECRET

T = TypeVar("T")

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ARRIVED, REFUSED, GONE = Posted(failure=""), Posted(failure="answered 500"), Posted(failure="answered 410", gone=True)


@dataclass(frozen=True)
class Sent:
    """One request, as the receiver would see it."""

    notice_id: str
    url: str
    secret: str
    body: str = field(repr=False)


class Receiver:
    """Answers as it is told, in turn, and the last answer for ever; while `held`, not at all."""

    def __init__(self, *answers: Posted) -> None:
        self._answers = list(answers)
        self.sent: list[Sent] = []
        self.news = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, notice_id: str, url: str, body: str, secret: str, at: datetime) -> Posted:
        assert at == NOW
        self.sent.append(Sent(notice_id, url, secret, body))
        self.news.set()
        if url.endswith("/slow"):
            await self.free.wait()
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Tasks(Durable):
    """Durable work in memory: each workflow is a task, waits are noted and take no time."""

    def __init__(self, workflows: dict[str, Workflow]) -> None:
        self._workflows = workflows
        self._news = asyncio.Event()
        self.started: dict[str, asyncio.Task[None]] = {}
        self.waits: list[float] = []
        self.remembered: list[Any] = []
        self.between: Callable[[], None] = lambda: None
        self.workflow_id = ""

    async def ended(self, number: int) -> None:
        """Wait until so many workflows have ended, and all went well."""
        async with asyncio.timeout(10):
            while sum(task.done() for task in self.started.values()) < number:
                self._news.clear()
                await self._news.wait()
        for task in self.started.values():
            if task.done():
                task.result()

    async def launch(self) -> None:
        pass

    async def start(self, workflow: str, workflow_id: str, *args: Json) -> None:
        self.remembered.append((workflow, workflow_id, args))
        if workflow_id not in self.started:
            task: asyncio.Task[None] = asyncio.ensure_future(self._workflows[workflow](self, *args))
            task.add_done_callback(lambda _: self._news.set())
            self.started[workflow_id] = task

    async def step(self, name: str, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        result = await body()
        self.remembered.append((name, result))
        return result

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.between()


class Story:
    """An outbox, with a delivery that has what it needs but a network and time."""

    def __init__(self, plane: Plane, seal: Seal) -> None:
        self.plane = plane
        self.seal = seal

    def application(self, url: str = "https://app.test/notices") -> str:
        id = self.plane.application().application_id
        self.move(id, url)
        return id

    def move(self, application_id: str, url: str) -> None:
        webhook = Webhook(application_id=application_id, url=url, secret=SECRET)
        self.plane.change(partial(update_webhook, seal=self.seal), UpdateWebhookRequest(webhook=webhook))

    def remove(self, application_id: str) -> None:
        self.plane.change(delete_webhook, DeleteWebhookRequest(application_id=application_id))

    def notify(self, *application_ids: str, times: int = 1) -> None:
        group = self.plane.group(application_ids=application_ids).group_id
        for _ in range(times):
            self.plane.runtime(group_ids=[group])

    def states(self) -> list[str]:
        return [row["state"] for row in self.plane.rows(tables.notices)]

    def webhook(self, application_id: str) -> Webhook:
        return self.plane.read(get_webhook, GetWebhookRequest(application_id=application_id)).webhook

    @asynccontextmanager
    async def delivering(self, receiver: Receiver, **options: Any) -> AsyncIterator[Tasks]:
        patience = options.pop("patience", Patience(attempts=4, first_wait=1.0, longest_wait=10.0))
        delivery = Delivery(
            self.plane.database, self.seal, receiver, lambda: NOW, patience, random=lambda: 0.0, **options
        )
        tasks = Tasks(delivery.workflows)
        running = asyncio.create_task(delivery.run(tasks))
        try:
            yield tasks
        finally:
            for task in (running, *tasks.started.values()):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def story(plane: Plane, seal: Seal) -> Story:
    return Story(plane, seal)


async def test_a_notice_is_sent_to_the_webhook_with_its_secret_and_is_delivered(story: Story) -> None:
    id = story.application()
    story.notify(id)
    receiver = Receiver(ARRIVED)
    async with story.delivering(receiver) as tasks:
        await tasks.ended(1)
    [row] = story.plane.rows(tables.notices)
    assert receiver.sent == [Sent(row["notice_id"], "https://app.test/notices", SECRET, row["body"])]
    assert (row["state"], row["attempts"]) == ("DELIVERED", 1)
    webhook = story.webhook(id)
    assert webhook.pending_notices == webhook.failed_notices == 0
    assert webhook.last_success_time.ToDatetime(UTC) == NOW
    assert not webhook.HasField("last_failure_time")


async def test_a_notice_is_tried_again_under_its_own_id_after_longer_and_longer_waits(story: Story) -> None:
    story.notify(story.application())
    receiver = Receiver(REFUSED, REFUSED, REFUSED, ARRIVED)
    async with story.delivering(receiver) as tasks:
        await tasks.ended(1)
        assert tasks.waits == [1.0, 4.0, 10.0]
    assert len({sent.notice_id for sent in receiver.sent}) == 1
    assert story.states() == ["DELIVERED"]


async def test_a_notice_is_given_up_after_the_last_attempt_and_the_webhook_says_why(story: Story) -> None:
    id = story.application()
    story.notify(id)
    receiver = Receiver(REFUSED)
    async with story.delivering(receiver) as tasks:
        await tasks.ended(1)
    assert len(receiver.sent) == 4
    [row] = story.plane.rows(tables.notices)
    assert (row["state"], row["attempts"]) == ("FAILED", 4)
    webhook = story.webhook(id)
    assert (webhook.pending_notices, webhook.failed_notices) == (0, 1)
    assert webhook.last_failure == "answered 500"
    assert webhook.last_failure_time.ToDatetime(UTC) == NOW


async def test_a_receiver_that_is_gone_is_not_tried_again(story: Story) -> None:
    story.notify(story.application())
    receiver = Receiver(GONE)
    async with story.delivering(receiver) as tasks:
        await tasks.ended(1)
    assert len(receiver.sent) == 1
    assert story.states() == ["FAILED"]


async def test_a_webhook_that_moved_is_tried_where_it_is_now(story: Story) -> None:
    id = story.application()
    story.notify(id)
    receiver = Receiver(REFUSED, ARRIVED)
    async with story.delivering(receiver) as tasks:
        tasks.between = lambda: story.move(id, "https://moved.test/notices")
        await tasks.ended(1)
    assert [sent.url for sent in receiver.sent] == ["https://app.test/notices", "https://moved.test/notices"]


async def test_a_webhook_that_was_removed_is_not_tried_again(story: Story) -> None:
    id = story.application()
    story.notify(id)
    receiver = Receiver(REFUSED)
    async with story.delivering(receiver) as tasks:
        tasks.between = lambda: story.remove(id)
        await tasks.ended(1)
    assert len(receiver.sent) == 1


async def test_a_notice_that_is_written_later_is_delivered_too(story: Story) -> None:
    id = story.application()
    receiver = Receiver(ARRIVED)
    async with story.delivering(receiver) as tasks:
        story.notify(id)
        await story.plane.database.write(lambda _: None)  # the commit that the delivery hears of
        await tasks.ended(1)
    assert story.states() == ["DELIVERED"]


async def test_a_slow_receiver_holds_up_nobody_else(story: Story) -> None:
    slow, quick = story.application("https://app.test/slow"), story.application("https://app.test/quick")
    story.notify(slow, times=5)
    story.notify(quick)
    receiver = Receiver(ARRIVED)
    receiver.free.clear()
    async with story.delivering(receiver, concurrency=3, lane=2) as tasks:
        await tasks.ended(1)
        assert story.states().count("DELIVERED") == 1
        async with asyncio.timeout(20):
            while len(receiver.sent) < 3:
                receiver.news.clear()
                await receiver.news.wait()
        assert sum(sent.url.endswith("slow") for sent in receiver.sent) == 2
        receiver.free.set()
        await tasks.ended(6)
    assert story.states() == ["DELIVERED"] * 6


async def test_of_one_application_only_so_many_are_tried_at_a_time(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "MOST_TRIED", 2)
    slow, other = story.application("https://app.test/slow"), story.application()
    story.notify(slow, times=5)
    story.notify(other)
    receiver = Receiver(ARRIVED)
    receiver.free.clear()
    async with story.delivering(receiver) as tasks:
        async with asyncio.timeout(10):
            while len(receiver.sent) < 3:
                receiver.news.clear()
                await receiver.news.wait()
        assert len(tasks.started) == 3
        receiver.free.set()
        await tasks.ended(6)
    rows = sorted(story.plane.rows(tables.notices), key=lambda row: (row["create_time"], row["notice_id"]))
    oldest_first = [row["notice_id"] for row in rows if row["application_id"] == slow]
    first = [sent.notice_id for sent in receiver.sent if sent.url.endswith("slow")][:2]
    assert set(first) == set(oldest_first[:2])  # the two are tried at the same time


async def test_trouble_with_our_own_database_is_not_held_against_the_receiver(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.notify(story.application())
    failing = [True, True]
    really = notices.delivered

    def delivered(*args: Any) -> None:
        if failing:
            failing.pop()
            raise Refusal(Reason.REASON_DATABASE_UNAVAILABLE, "the service cannot use its database")
        really(*args)

    monkeypatch.setattr(notices, "delivered", delivered)
    async with story.delivering(Receiver(ARRIVED), patience=Patience(attempts=1)) as tasks:
        await tasks.ended(1)
    [row] = story.plane.rows(tables.notices)
    assert (row["state"], row["attempts"]) == ("DELIVERED", 1)


async def test_a_secret_that_cannot_be_unsealed_is_told_on_the_webhook_and_nothing_is_sent(story: Story) -> None:
    id = story.application()
    story.notify(id)
    with story.plane.transaction() as tx:
        tx.execute(update(tables.webhooks).values(sealed_secret=b"damaged"))
    receiver = Receiver(ARRIVED)
    async with story.delivering(receiver) as tasks:
        await tasks.ended(1)
    assert receiver.sent == []
    assert "set it again" in story.webhook(id).last_failure


async def test_a_key_provider_that_is_away_is_no_failure_of_the_application(story: Story, tmp_path: Path) -> None:
    story.notify(story.application())
    key_file, away = tmp_path / "sealing.key", tmp_path / "away"
    story.seal = sealing(story.plane, key_file)  # which remembers no data key
    key_file.rename(away)
    async with story.delivering(Receiver(ARRIVED), patience=Patience(attempts=1)) as tasks:
        tasks.between = partial(os.rename, away, key_file)
        await tasks.ended(1)
    assert ("attempt-1", "unable") in tasks.remembered
    [row] = story.plane.rows(tables.notices)
    assert (row["state"], row["attempts"]) == ("DELIVERED", 1)


async def test_no_argument_or_result_of_the_durable_work_holds_the_secret(story: Story) -> None:
    story.notify(story.application())
    async with story.delivering(Receiver(REFUSED)) as tasks:
        await tasks.ended(1)
        assert ("attempt-1", "failed") in tasks.remembered
        assert SECRET.removeprefix("whsec_") not in repr(tasks.remembered)

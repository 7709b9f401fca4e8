"""Two Directors on one PostgreSQL: whichever is asked, and whatever ends one of them, it is one plane."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from moorage.director.v1.api_pb2 import ListApisRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, ListApplicationsRequest
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    Group,
    ListGroupMembersRequest,
    ListGroupsRequest,
    RemoveGroupMembersRequest,
)
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, ListRuntimesRequest, Runtime
from moorage.director.v1.webhook_pb2 import GetWebhookRequest, UpdateWebhookRequest, Webhook

from tests.integration.director_webhooks.receiver import receiving
from tests.support.directors import Client, Directors
from tests.support.postgresql import PostgresqlServer
from tests.support.traffic import Writer
from tests.support.wait import eventually
from tests.support.watcher import Watcher, snapshot_of
from tests.unit.director_webhooks.test_settings import SECRET

pytestmark = pytest.mark.timeout(240)

OFFERED = 200.0
"""Writes a second that the writers offer in all."""

WRITERS = 10
WITHIN = 60.0
"""Seconds that anything may take which is to happen."""

NOTICES = 10
"""Times that an Application is told of a Runtime, and of its loss."""

GROUPS_OF_RUNTIMES = ((0,), (1,), (0, 1), (2,))
"""Of each Runtime that is watched, the groups that it is in."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """A server that can be killed: nobody else is on it."""
    server = PostgresqlServer.started()
    yield server
    server.remove()


@pytest.fixture
async def directors(server: PostgresqlServer, tmp_path: Path) -> AsyncIterator[Directors]:
    directors = Directors(tmp_path, server)
    try:
        await directors.start()
        yield directors
    finally:
        await directors.close()


class Registry:
    """The groups and the Runtimes that are watched."""

    def __init__(self, directors: Directors, groups: list[str], runtimes: list[str]) -> None:
        self.directors = directors
        self.groups = groups
        self.runtimes = runtimes

    @classmethod
    async def made(cls, directors: Directors) -> "Registry":
        client = directors.client()
        groups = [
            (await client.call("CreateGroup", CreateGroupRequest(group=Group(name=f"watched-{i}")))).group.group_id
            for i in range(3)
        ]
        runtimes = []
        for i, of_it in enumerate(GROUPS_OF_RUNTIMES):
            request = CreateRuntimeRequest(runtime=Runtime(name=f"watched-{i}"), group_ids=[groups[j] for j in of_it])
            runtimes.append((await client.call("CreateRuntime", request)).runtime.runtime_id)
        return cls(directors, groups, runtimes)

    def writers(self) -> list[Writer]:
        """Writers that begin half at the one, half at the other."""
        return [Writer(self.directors.client(first=i % 2), self.groups, WRITERS / OFFERED) for i in range(WRITERS)]

    def watchers(self) -> list[Watcher]:
        """Two of each Runtime, one at each Director."""
        return [
            Watcher(each, self.directors.client(self.directors.mint.identity("runtime", each), first=i))
            for each in self.runtimes
            for i in range(2)
        ]


@pytest.mark.check("stream-19")
async def test_nothing_is_lost_or_reordered_while_one_of_two_directors_is_killed_at_random(
    directors: Directors,
) -> None:
    await _holds_through_kills(directors, kills=3, between=150)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.check("stream-19")
async def test_nothing_is_lost_or_reordered_through_many_kills(directors: Directors) -> None:
    await _holds_through_kills(directors, kills=25, between=300)


@pytest.mark.check("stream-18")
async def test_watchers_of_a_director_that_is_stopped_go_on_at_the_other_without_a_snapshot(
    directors: Directors,
) -> None:
    registry = await Registry.made(directors)
    watchers, writers = registry.watchers(), registry.writers()
    async with watching(watchers):
        async with writing(writers):
            await _more(writers, 50)
            assert await directors.processes[0].end(signal.SIGTERM) == 0
            await _more(writers, 50)
        await _converged(watchers, [directors.client(first=1)])
    of_the_stopped = [each for each in watchers if len(each.begun) > 1]
    assert len(of_the_stopped) == len(registry.runtimes)
    for each in watchers:
        assert each.begun[0] == "SNAPSHOT"
        assert set(each.begun[1:]) <= {"DELTA", "BOOKMARK"}


async def test_a_director_that_is_stopped_while_its_database_is_away_ends_in_time(
    directors: Directors, server: PostgresqlServer
) -> None:
    await Registry.made(directors)
    await _work_durably(directors)
    server.kill()
    try:
        await eventually("both are not ready", lambda: _health_is(directors, "NOT_SERVING"), WITHIN)
        assert [await each.end(signal.SIGTERM) for each in directors.processes] == [0, 0]
    finally:
        server.start()


async def test_without_their_database_directors_live_and_keep_their_streams_and_with_it_they_go_on(
    directors: Directors, server: PostgresqlServer
) -> None:
    registry = await Registry.made(directors)
    watchers, writers = registry.watchers(), registry.writers()
    async with watching(watchers):
        async with writing(writers):
            await _more(writers, 50)
            server.kill()
            await eventually("both are not ready", lambda: _health_is(directors, "NOT_SERVING"), WITHIN)
            assert [await directors.health(number, "") for number in range(2)] == ["SERVING"] * 2
            server.start()
            await eventually("both are ready", lambda: _health_is(directors, "SERVING"), WITHIN)
            await _more(writers, 50)
        clients = [directors.client(first=number) for number in range(2)]
        await _converged(watchers, clients)
        for client in clients:
            await _has_all(client, registry, writers)
    assert [each.begun for each in watchers] == [["SNAPSHOT"]] * len(watchers)
    _is_in_order(directors.database, writers)


async def test_notices_that_a_killed_director_was_delivering_are_delivered_by_the_other(
    directors: Directors,
) -> None:
    registry = await Registry.made(directors)
    with receiving() as receiver:
        receiver.held.add("/in")
        clients = [directors.client(first=number) for number in range(2)]
        application_id = await _with_webhook(clients[0], f"{receiver.url}/in")
        for number in range(NOTICES):
            await _notify(clients[number % 2], registry.groups[0], application_id)

        async def under_way() -> list[str]:
            executors = _executors_at_work(directors)
            return executors if len(executors) == 2 * NOTICES else []

        executor = random.choice(await eventually("each notice is being delivered", under_way, WITHIN))
        killed = ["director:director-0", "director:director-1"].index(executor)
        client = clients[1 - killed]
        await directors.processes[killed].end(signal.SIGKILL)
        receiver.held.clear()
        receiver.free.set()
        with psycopg.connect(directors.dbos_database) as connection:  # so that nobody has to wait for its silence
            connection.execute("UPDATE moorage_executors SET departed = true WHERE executor_id = %s", [executor])
        request = GetWebhookRequest(application_id=application_id)

        async def all_delivered() -> bool:
            webhook: Webhook = (await client.call("GetWebhook", request)).webhook
            return webhook.pending_notices == 0

        await eventually("all notices are delivered", all_delivered, WITHIN)
        assert (await client.call("GetWebhook", request)).webhook.failed_notices == 0
    with psycopg.connect(directors.database) as connection:
        notices = {each for (each,) in connection.execute("SELECT notice_id FROM notices").fetchall()}
    assert {each.headers["webhook-id"] for each in receiver.received} == notices
    with psycopg.connect(directors.dbos_database) as connection:
        ids = connection.execute("SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'SUCCESS'").fetchall()
    assert {each for (each,) in ids} == notices


async def _holds_through_kills(directors: Directors, *, kills: int, between: int) -> None:
    """Kill one of the two at a random moment, again and again, `between` writes apart, while all write and watch."""
    registry = await Registry.made(directors)
    watchers, writers = registry.watchers(), registry.writers()
    async with watching(watchers):
        async with writing(writers):
            for _ in range(kills):
                await _more(writers, random.randint(between // 2, between))
                killed = random.choice(directors.processes)
                await killed.end(signal.SIGKILL)
                await _more(writers, random.randint(between // 2, between))
                await killed.start()
        clients = [directors.client(first=number) for number in range(2)]
        await _converged(watchers, clients)
        for client in clients:
            await _has_all(client, registry, writers)
    _is_in_order(directors.database, writers)
    for each in watchers:
        assert each.revisions == sorted(each.revisions)
        assert each.begun[0] == "SNAPSHOT"
        assert set(each.begun[1:]) <= {"DELTA", "BOOKMARK"}
    assert sum(each.client.moves for each in watchers) > 0


@asynccontextmanager
async def watching(watchers: Sequence[Watcher]) -> AsyncIterator[None]:
    """Have them watch inside the block, from their first configurations on."""

    async def hold() -> bool:
        return all(each.held is not None for each in watchers)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run()) for each in watchers]
        await eventually("every watcher's first configuration", hold, WITHIN)
        yield
        for each in running:
            each.cancel()


@asynccontextmanager
async def writing(writers: Sequence[Writer]) -> AsyncIterator[None]:
    """Have them write inside the block; at its end, each write that was begun is acknowledged."""
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in writers:
            tasks.create_task(each.run(ended))
        try:
            yield
        finally:
            ended.set()


async def _with_webhook(client: Client, url: str) -> str:
    """A new Application that is notified at `url`; its id."""
    request = CreateApplicationRequest(application=Application(name="notified"))
    application_id: str = (await client.call("CreateApplication", request)).application.application_id
    webhook = Webhook(application_id=application_id, url=url, secret=SECRET)
    await client.call("UpdateWebhook", UpdateWebhookRequest(webhook=webhook))
    return application_id


async def _notify(client: Client, group_id: str, application_id: str) -> None:
    """Have the Application told that its Runtimes are others."""
    await client.call("AddGroupMembers", AddGroupMembersRequest(group_id=group_id, application_ids=[application_id]))
    remove = RemoveGroupMembersRequest(group_id=group_id, application_ids=[application_id])
    await client.call("RemoveGroupMembers", remove)


async def _work_durably(directors: Directors) -> None:
    """Wait until each has its durable work launched: from then on it says again and again that it lives."""
    first: dict[str, Any] = {}

    async def both_said_it_twice() -> bool:
        try:
            with psycopg.connect(directors.dbos_database) as connection:
                rows = connection.execute("SELECT executor_id, seen_time FROM moorage_executors").fetchall()
        except psycopg.errors.UndefinedTable:
            return False
        for executor, seen in rows:
            first.setdefault(executor, seen)
        return len(rows) == len(directors.processes) and all(first[executor] < seen for executor, seen in rows)

    await eventually("all are at work", both_said_it_twice, WITHIN)


def _executors_at_work(directors: Directors) -> list[str]:
    """Of each workflow that has not ended, whose it is."""
    with psycopg.connect(directors.dbos_database) as connection:
        rows = connection.execute("SELECT executor_id FROM dbos.workflow_status WHERE status = 'PENDING'").fetchall()
    return [each for (each,) in rows]


async def _more(writers: Sequence[Writer], count: int) -> None:
    """Wait for so many more writes."""
    enough = sum(each.count for each in writers) + count

    async def came() -> bool:
        return sum(each.count for each in writers) >= enough

    await eventually(f"{count} more writes", came, WITHIN)


async def _converged(watchers: Sequence[Watcher], clients: Sequence[Client]) -> None:
    """Wait until every watcher has what each of the Directors that the clients call shows afresh."""
    for runtime_id in {each.runtime_id for each in watchers}:
        fresh = [await snapshot_of(client, runtime_id) for client in clients]
        assert len({each.content_sha256 for each in fresh}) == 1
        of_it = [each for each in watchers if each.runtime_id == runtime_id]

        async def same(of_it: Sequence[Watcher] = of_it, sha256: str = fresh[0].content_sha256) -> bool:
            return all(each.held is not None and each.held.content_sha256 == sha256 for each in of_it)

        await eventually(f"the watchers of {runtime_id} have what it sees", same, WITHIN)


async def _has_all(client: Client, registry: Registry, writers: Sequence[Writer]) -> None:
    """All that was acknowledged is there, and nothing else."""
    applications = {
        each.application_id: each for each in await _pages(client, "Applications", ListApplicationsRequest())
    }
    assert applications == {key: each for writer in writers for key, each in writer.applications.items()}
    apis: dict[str, Any] = {}
    for application_id in applications:
        of_it = await _pages(client, "Apis", ListApisRequest(application_id=application_id))
        apis |= {each.api_id: each for each in of_it}
    assert apis == {key: each for writer in writers for key, each in writer.apis.items()}
    groups = {each.group_id: each for each in await _pages(client, "Groups", ListGroupsRequest())}
    written_groups = {key: each for writer in writers for key, each in writer.groups.items()}
    assert {key: each for key, each in groups.items() if key not in registry.groups} == written_groups
    runtimes = {each.runtime_id for each in await _pages(client, "Runtimes", ListRuntimesRequest())}
    assert runtimes == {key for writer in writers for key in writer.runtimes} | set(registry.runtimes)
    for group_id in registry.groups:
        members = await _pages(client, "GroupMembers", ListGroupMembersRequest(group_id=group_id), "members")
        found = {each.application_id for each in members if each.application_id}
        assert found == {each[1] for writer in writers for each in writer.members if each[0] == group_id}


async def _pages(client: Client, what: str, request: Any, field: str = "") -> list[Any]:
    found: list[Any] = []
    while True:
        answer = await client.call(f"List{what}", request)
        found += getattr(answer, field or what.lower())
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def _is_in_order(database: str, writers: Sequence[Writer]) -> None:
    """The log has every revision, those that were told are in it, and their order is that of the writes."""
    writes = sorted((each for writer in writers for each in writer.writes), key=lambda each: each.revision)
    with psycopg.connect(database) as connection:
        (head,) = connection.execute("SELECT revision FROM plane").fetchone() or (0,)
        logged = connection.execute("SELECT DISTINCT revision, resource_id FROM changes ORDER BY revision").fetchall()
    assert sorted({revision for revision, _ in logged}) == list(range(1, head + 1))
    assert {(each.revision, each.resource_id) for each in writes} <= set(logged)
    begun_last = 0.0
    for each in writes:  # one that was acknowledged before another was begun has the lower revision
        assert each.ended > begun_last
        begun_last = max(begun_last, each.begun)


async def _health_is(directors: Directors, status: str) -> bool:
    return {await directors.health(number) for number in range(2)} == {status}

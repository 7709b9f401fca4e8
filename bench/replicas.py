"""Two Directors on one PostgreSQL: a change that one of them takes, received on a stream of the other."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from bench.figures import Figure
from tests.support.directors import Client, Directors
from tests.support.postgresql import PostgresqlServer

ROUNDS = 5
CHANGES = 100
"""In a row, one at a time, in each round of each side."""

WARM_UP = 50
TIMEOUT = 30.0
_SETTINGS = {"fsync": "on", "full_page_writes": "on", "track_commit_timestamp": "on"}
_COMMITTED = "SELECT pg_xact_commit_timestamp(xmin) FROM apis WHERE api_id = %s"


async def measure(work: Path) -> dict[str, Figure]:
    """`replicas.p50` and `replicas.p99`, beside a stream of the Director that took it, and beside bare NOTIFY."""
    home = work / "replicas"
    home.mkdir()
    server = PostgresqlServer.started(**_SETTINGS)
    try:
        floor = await _notices(server.url(server.create_database()))
        directors = Directors(home, server)
        try:
            await directors.start()
            across, same = await _changes(directors)
        finally:
            await directors.close()
    finally:
        server.remove()
    what = "commit of UpdateApi at one Director to its receipt on a stream of the other"
    beside = "beside a stream of the same one"
    p50 = statistics.median(across)
    return {
        "replicas.p50": Figure(p50, statistics.median(same), "ms", f"{what}, {beside}"),
        "replicas.p99": Figure(_p99(across), _p99(same), "ms", f"{what}, 99th percentile, {beside}"),
        "replicas.notify": Figure(
            p50, statistics.median(floor), "ms", f"{what}, beside a bare INSERT with NOTIFY to its receipt"
        ),
    }


async def _changes(directors: Directors) -> tuple[list[float], list[float]]:
    """Milliseconds from the commit of each change to its receipt: from the other Director, and from the same."""
    writer = directors.client(first=0)
    api, runtime_id = await _story(writer)
    agent = directors.mint.identity("runtime", runtime_id)
    found: tuple[list[float], list[float]] = [], []
    async with await psycopg.AsyncConnection.connect(directors.database, autocommit=True) as database:
        for _ in range(ROUNDS):
            for number, times in zip((1, 0), found, strict=True):
                async with _stream(directors.client(agent, first=number), runtime_id) as stream:
                    for _ in range(WARM_UP):
                        await _change(writer, api, stream, database)
                    times += [await _change(writer, api, stream, database) for _ in range(CHANGES)]
    return found


async def _story(client: Client) -> tuple[Api, str]:
    application = Application(name="benchmark")
    made = await client.call("CreateApplication", CreateApplicationRequest(application=application))
    application_id = made.application.application_id
    wanted = Api(application_id=application_id, name="orders", target_url="http://127.0.0.1:1")
    api: Api = (await client.call("CreateApi", CreateApiRequest(api=wanted))).api
    group = CreateGroupRequest(group=Group(name="benchmark"), application_ids=[application_id])
    group_id = (await client.call("CreateGroup", group)).group.group_id
    runtime = CreateRuntimeRequest(runtime=Runtime(name="benchmark"), group_ids=[group_id])
    return api, (await client.call("CreateRuntime", runtime)).runtime.runtime_id


@asynccontextmanager
async def _stream(client: Client, runtime_id: str) -> AsyncIterator[AsyncIterator[WatchConfigurationResponse]]:
    call = client.stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id))
    stream = aiter(call)
    await anext(stream)
    try:
        yield stream
    finally:
        call.cancel()


async def _change(
    writer: Client,
    api: Api,
    stream: AsyncIterator[WatchConfigurationResponse],
    database: psycopg.AsyncConnection[tuple[datetime]],
) -> float:
    """Milliseconds from the commit, by PostgreSQL's word, to the receipt; both by this machine's clock."""
    changed = Api(application_id=api.application_id, api_id=api.api_id, description=f"{time.monotonic_ns()}")
    async with asyncio.timeout(TIMEOUT):
        changing = asyncio.ensure_future(writer.call("UpdateApi", UpdateApiRequest(api=changed)))
        await anext(stream)
        received = datetime.now(UTC)
        await changing
        row = await (await database.execute(_COMMITTED, [api.api_id])).fetchone()
    assert row is not None
    return (received - row[0]).total_seconds() * 1e3


async def _notices(url: str) -> list[float]:
    """Milliseconds from a bare INSERT, committed with a NOTIFY, to the receipt of that by a connection that listens."""
    times = []
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as writer,
    ):
        await writer.execute("CREATE TABLE written (at timestamptz DEFAULT now())")
        await listener.execute("LISTEN bench")
        notices = listener.notifies(timeout=TIMEOUT)
        receiving = asyncio.ensure_future(anext(notices))
        for _ in range(WARM_UP + ROUNDS * CHANGES):
            begin = time.perf_counter()
            await writer.execute(b"INSERT INTO written DEFAULT VALUES; NOTIFY bench")
            await receiving
            times.append((time.perf_counter() - begin) * 1e3)
            receiving = asyncio.ensure_future(anext(notices))
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await notices.aclose()
    return times[WARM_UP:]


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]

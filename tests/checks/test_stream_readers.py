"""Streaming, to readers that are slow or frozen: they cost nobody else anything, and have the latest in the end."""

import asyncio
import os
import re
import signal
import socket
import statistics
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from bench.seed import Size, runtime_id
from bench.stream.fleet import Fleet, Reader, fleet
from bench.stream.servers import Director, director, readers
from tests.integration.agent.plane import Agent
from tests.integration.director_registry.process import DirectorProcess
from tests.support.stream_plane import PATIENCE, StreamPlane
from tests.support.wait import eventually

LARGE_APIS = 300
"""APIs of the Application that is changed: each of its changes is about a third of a megabyte."""

LARGE_CHANGES = 80
"""So many of these changes are more than all that is buffered on the way to one reader."""

BUFFERED = 24 * 1024 * 1024
"""The most bytes that a frozen reader may cost, and less than the changes that it is not sent."""

KEEPALIVE = 75.0 + 10.0
"""Seconds after which a party that is silent is asked for a sign of life, and that it has for it."""

FROZEN = 200
"""Readers that are frozen at the same time."""

ROUNDS, CHANGES = 4, 5
"""Rounds with a frozen reader, between as many without one, and changes of all streams in each."""


@pytest.mark.timeout(120)
@pytest.mark.check("stream-04")
async def test_a_reader_that_paused_gets_the_latest_state_and_not_the_history(tmp_path: Path) -> None:
    """A real agent under SIGSTOP, and a reader that does not read, beside one that reads every change."""
    async with started(tmp_path) as (_, registry):
        group = await registry.group()
        large = await large_application(registry, group)
        runtime = await registry.runtime(group)
        agent = await registry.agent(runtime)
        paused, witness = await registry.connected(runtime), await registry.connected(runtime)
        before = (await registry.applied(agent, runtime))["counts"]["deltas"]
        paused.reading.clear()

        with stopped(agent):
            for number in range(LARGE_CHANGES):
                revision = await registry.describe_api(large, str(number))
                await witness.until(lambda each, revision=revision: each.revision >= revision, PATIENCE)  # type: ignore[misc]
        paused.reading.set()
        await registry.up_to_date(paused, witness)
        status = await registry.applied(agent, runtime, connected=True)

        assert len(witness.messages) == 1 + LARGE_CHANGES
        assert len(paused.messages) < 1 + LARGE_CHANGES * 0.75
        assert status["counts"]["deltas"] - before < LARGE_CHANGES * 0.75
        assert status["counts"]["snapshots"] == 1
        assert status["content_sha256"] == witness.content_sha256 == paused.content_sha256


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.check("stream-14")
async def test_the_streams_of_frozen_parties_are_closed_by_keepalive_and_what_they_took_is_free_again(
    tmp_path: Path,
) -> None:
    """An agent and two hundred readers under SIGSTOP: no stream, task or connection of theirs is left."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    async with started(tmp_path, metrics_listen=metrics) as (process, registry):
        group = await registry.group()
        application = await registry.application(group)
        runtime = await registry.runtime(group)
        runtimes = [await registry.runtime(group) for _ in range(FROZEN)]
        agent = await registry.agent(runtime)
        await registry.applied(agent, runtime, connected=True)
        before = descriptors(process)
        async with reading(registry, runtimes) as frozen:
            assert open_streams(metrics) == 1 + FROZEN
            assert descriptors(process) >= before + FROZEN
            with stopped(agent):
                frozen.freeze()

                async def closed() -> bool:
                    return open_streams(metrics) == 0 and descriptors(process) <= before

                await eventually("no stream is open", closed, within=KEEPALIVE + 8)
                told = await registry.told_of(runtime)
                assert told.state == RuntimeState.RUNTIME_STATE_READY  # what it ran when it was last heard of
                await registry.describe(application, "while it was frozen")
        status = await registry.applied(agent, runtime, connected=True)
        assert status["counts"]["snapshots"] == 1


@pytest.mark.timeout(300)
@pytest.mark.check("stream-15")
@pytest.mark.parametrize("streams", [100, pytest.param(1000, marks=pytest.mark.slow)])
async def test_one_frozen_reader_among_many_slows_nobody_and_takes_bounded_memory(tmp_path: Path, streams: int) -> None:
    size = Size(applications=1, apis=1, groups=1, runtimes=streams + 1)
    async with director(tmp_path / "director", size) as (server, mint):
        registry = StreamPlane(tmp_path, mint, [server.address])
        bundle, who = readers(mint, range(streams + 1))
        async with (
            fleet(tmp_path, server.address, server.path, bundle, who[:-1]) as others,
            fleet(tmp_path, server.address, server.path, bundle, who[-1:]) as last,
        ):
            await asyncio.gather(others.open(), last.open())
            large = await large_application(registry, await registry.group(runtimes=[runtime_id(streams)]))
            await changed(registry, large, 5)
            await latencies(server, others)
            before = server.memory()
            beside: dict[bool, list[float]] = {False: [], True: []}
            for number in range(2 * ROUNDS):
                frozen = number % 2 == 0
                if frozen:
                    last.freeze()
                    await changed(registry, large, LARGE_CHANGES if number == 0 else 5)
                beside[frozen].append(statistics.median(await latencies(server, others)))
                if number == 0:
                    grown = server.memory() - before
                if frozen:
                    last.thaw()
            (sent,) = await last.take()
        await registry.close()
    large_ones = [each for each in sent if each.size > LARGE_APIS * 1000]
    assert len(large_ones) < LARGE_CHANGES * 0.75
    assert grown < BUFFERED
    assert min(beside[True]) < 1.5 * min(beside[False]) + 5.0  # the best rounds: what else the machine does only adds


@asynccontextmanager
async def started(folder: Path, **settings: str) -> AsyncIterator[tuple[DirectorProcess, StreamPlane]]:
    """A Director of this test alone, and its registry."""
    process = DirectorProcess(folder)
    process.settings |= settings
    registry = StreamPlane(folder, process.mint, [process.settings["listen"]])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.close)
        stack.push_async_callback(registry.close)
        await process.start()
        yield process, registry


@contextmanager
def stopped(agent: Agent) -> Iterator[None]:
    """No time is given to an agent inside the block."""
    os.kill(agent.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.process.pid, signal.SIGCONT)


@asynccontextmanager
async def reading(registry: StreamPlane, runtimes: Sequence[str]) -> AsyncIterator[Fleet]:
    """A process that holds a stream open for each of these Runtimes."""
    who = []
    for each in runtimes:
        loaded = registry.identity(each).load()
        who.append(Reader(each, loaded.key_pem.decode(), loaded.chain_pem.decode()))
    bundle, folder = registry.mint.root.chain_pem.decode(), registry.folder / runtimes[0]
    folder.mkdir()
    async with fleet(folder, registry.addresses[0], Director.path, bundle, who) as made:
        await made.open()
        yield made


async def large_application(registry: StreamPlane, group: str) -> Api:
    """A new Application, in this group, of many APIs with long descriptions; one of them."""
    application = await registry.application(group)
    text = "a" * 1000
    made = await asyncio.gather(*(registry.api(application, text) for _ in range(LARGE_APIS)))
    return made[0]


async def changed(registry: StreamPlane, api: Api, times: int) -> None:
    """Change an API so many times; in between, whoever reads can be sent each change."""
    for number in range(times):
        await registry.describe_api(api, f"{number} of {times}")
        await asyncio.sleep(0.02)


async def latencies(server: Director, others: Fleet) -> list[float]:
    """Milliseconds from commit to receipt, of each reader and each of some changes."""
    found: list[float] = []
    for _ in range(CHANGES):
        change = await server.change()
        found += [(at - change.at) / 1e6 for at in await others.wait(change.revision)]
    return found


def descriptors(process: DirectorProcess) -> int:
    """How many files and connections a Director has open."""
    assert process.process is not None
    return len(list(Path(f"/proc/{process.process.pid}/fd").iterdir()))


def open_streams(metrics: str) -> int:
    """How many streams of configuration a Director says that it has open."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    found = re.search(r'moorage_open_streams\{method="[^"]*/WatchConfiguration"\} (\S+)', text)
    return int(float(found[1])) if found else 0

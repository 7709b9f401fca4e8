"""Many streams on which nothing happens, then changes of all of them and of one, then a server that is killed."""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figure
from bench.processes import cpu_seconds
from bench.seed import Size
from bench.stream.fleet import Fleet, fleet
from bench.stream.servers import Bare, Server, bare, director, readers

IDLE = 120.0
"""Seconds during which idle streams are watched: each asks for a sign of life every 60."""

CALM = 30.0
"""Seconds before that in which what comes after a start, and after many streams have begun, comes to its end."""

ROUNDS = 5
FANOUTS = 4
"""Changes of all streams in a round."""

SINGLES = 60
"""Changes of one stream, one at a time, in a round."""

_WARM_UP = 20
_SETTLE = 3.0


class Side(NamedTuple):
    """A server and the streams upon it."""

    server: Server
    fleet: Fleet


async def measure(work: Path, streams: int) -> dict[str, Figure]:
    """`stream.*`, `fanout.*`, `single.p99` and `reconnect.*`."""
    size = Size(applications=1, apis=1, groups=1, runtimes=streams)
    async with director(work / "quiet", size) as (ours, mint), bare(mint, size) as floor:
        bundle, who = readers(mint, range(streams))
        for server in (ours, floor):
            await server.change_one()
            async with fleet(work, server.address, server.path, bundle, who[:_WARM_UP]) as few:
                await few.open()
        async with (
            fleet(work, ours.address, ours.path, bundle, who) as of_ours,
            fleet(work, floor.address, floor.path, bundle, who) as of_floor,
        ):
            sides = Side(ours, of_ours), Side(floor, of_floor)
            return {
                **await _memory(sides, streams),
                **await _idle(sides, streams),
                **await _fanout(sides, streams),
                **await _single(sides, floor, streams),
                **await _reconnect(sides, streams),
            }


async def _memory(sides: tuple[Side, Side], streams: int) -> dict[str, Figure]:
    sys.stderr.write(f"bench: opening {streams:,} streams, twice\n")
    each = []
    for server, streaming in sides:
        await asyncio.sleep(_SETTLE)
        before = server.memory()
        await streaming.open()
        await asyncio.sleep(_SETTLE)
        each.append((server.memory() - before) / streams / 1024)
    return {"stream.memory": figure(each, "KiB", f"server memory of one stream of {streams:,}, beside a bare one")}


async def _idle(sides: tuple[Side, Side], streams: int) -> dict[str, Figure]:
    sys.stderr.write(f"bench: {streams:,} idle streams for {CALM + IDLE:.0f} s\n")
    await asyncio.sleep(CALM)
    before = [cpu_seconds(server.pid) for server, _ in sides]
    await asyncio.sleep(IDLE)
    shares = [(cpu_seconds(side.server.pid) - was) / IDLE * 100 for side, was in zip(sides, before, strict=True)]
    what = f"server CPU of {streams:,} idle streams, of one core, beside bare ones (pings included on both sides)"
    return {"stream.idle_cpu": figure(shares, "%", what)}


async def _fanout(sides: tuple[Side, Side], streams: int) -> dict[str, Figure]:
    times: tuple[list[float], list[float]] = [], []
    cpu: tuple[list[float], list[float]] = [], []
    for number in range(ROUNDS):
        sys.stderr.write(f"bench: changes of all streams, round {number + 1} of {ROUNDS}\n")
        for side, into, used in zip(sides, times, cpu, strict=True):
            before = cpu_seconds(side.server.pid)
            for _ in range(FANOUTS):
                change = await side.server.change()
                into += [(at - change.at) / 1e6 for at in await side.fleet.wait(change.revision)]
            used.append((cpu_seconds(side.server.pid) - before) / FANOUTS / streams * 1e6)
    what = f"1 KB to each of {streams:,} streams"
    beside = "beside a bare broadcast"
    return {
        "fanout.p99": figure(map(p99, times), "ms", f"{what}, commit to receipt, 99th percentile, {beside}", times),
        "fanout.p50": figure(map(statistics.median, times), "ms", f"{what}, commit to receipt, median, {beside}"),
        "fanout.cpu": figure(map(statistics.median, cpu), "us", f"{what}, server CPU of one message, {beside}"),
    }


async def _single(sides: tuple[Side, Side], floor: Bare, streams: int) -> dict[str, Figure]:
    ours, _ = sides
    times, calls = [], []
    for number in range(ROUNDS):
        sys.stderr.write(f"bench: changes of one stream, round {number + 1} of {ROUNDS}\n")
        for _ in range(SINGLES):
            change = await ours.server.change_one()
            (at,) = await ours.fleet.wait(change.revision, [0])
            times.append((at - change.at) / 1e6)
        calls += [await floor.call() * 1e3 for _ in range(SINGLES)]
    what = f"a change to one Runtime of {streams:,}, commit to receipt"
    beside = "beside one bare unary call on as many connections"
    return {
        "single.p99": Figure(p99(times), p99(calls), "ms", f"{what}, 99th percentile, {beside}", (times, calls)),
        "single.p50": Figure(statistics.median(times), statistics.median(calls), "ms", f"{what}, median, {beside}"),
    }


async def _reconnect(sides: tuple[Side, Side], streams: int) -> dict[str, Figure]:
    seconds, sizes = [], []
    for server, streaming in sides:
        sys.stderr.write(f"bench: killed and started again under {streams:,} streams\n")
        first = await streaming.take()
        sizes.append(sum(each[0].size for each in first))
        killed = time.time_ns()
        await server.kill()
        await server.start()
        seconds.append((max(await streaming.reopened(killed)) - killed) / 1e9)
        received = [each for some in await streaming.take() for each in some if not each.is_bookmark]
        sizes.append(sum(each.size for each in received))
    return {
        "reconnect.time": figure(
            seconds, "s", f"kill -9, restart, until all of {streams:,} stream again, beside the bare server"
        ),
        "reconnect.bytes": Figure(
            sizes[1], sizes[0], "B", "configuration that unchanged Runtimes are sent, beside what they had at first"
        ),
    }


def figure(
    sides: Iterable[float], unit: str, what: str, samples: tuple[list[float], list[float]] | None = None
) -> Figure:
    """A figure of two `sides`: ours, then the baseline."""
    value, baseline = sides
    return Figure(value, baseline, unit, what, samples)


def p99(times: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(times, n=100)[98]

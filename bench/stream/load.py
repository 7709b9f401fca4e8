"""Streams under load: one reader that is frozen, changes that do not end, and a registry that is ten times as large."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.figures import Figure
from bench.processes import cpu_seconds
from bench.seed import Size
from bench.stream.fleet import Fleet, Receipt, fleet
from bench.stream.quiet import Side, figure, p99
from bench.stream.servers import Change, Server, bare, director, readers

ROUNDS = 5
CHANGES = 20
"""Changes of all streams, one after the other, in a round."""

GROUPS, PER_GROUP = 50, 10
RATE = 100
"""Changes a second that do not end, for `SECONDS`."""

SECONDS = 60
_TENFOLD = 10
_SETTLE = 3.0
_MIB = 2**20


async def frozen(work: Path, streams: int) -> dict[str, Figure]:
    """`frozen.p99` and `frozen.memory`: the last of the readers reads no more."""
    size = Size(applications=1, apis=1, groups=1, runtimes=streams + 1)
    async with director(work / "frozen", size) as (server, mint):
        bundle, who = readers(mint, range(streams + 1))
        async with (
            fleet(work, server.address, server.path, bundle, who[:-1]) as others,
            fleet(work, server.address, server.path, bundle, who[-1:]) as last,
        ):
            await asyncio.gather(others.open(), last.open())
            times: list[list[float]] = []
            memory: list[int] = []
            for freeze in (False, True):
                sys.stderr.write(f"bench: {streams:,} readers and one {'frozen' if freeze else 'more'}\n")
                if freeze:
                    last.freeze()
                times.append([each for _ in range(ROUNDS) for each in await _rounds(server, others)])
                await asyncio.sleep(_SETTLE)
                memory.append(server.memory())
    what = f"of 1,000 readers that get {ROUNDS * CHANGES} changes of 1 KB".replace("1,000", f"{streams:,}")
    return {
        "frozen.p99": Figure(
            p99(times[1]),
            p99(times[0]),
            "ms",
            f"{what}: 99th percentile with another that is frozen, beside before",
            (times[1], times[0]),
        ),
        "frozen.memory": Figure(
            memory[1] / _MIB, memory[0] / _MIB, "MiB", "server memory with a reader that is frozen, beside before"
        ),
    }


async def sustained(work: Path) -> dict[str, Figure]:
    """`sustained.p99`, `sustained.memory` and `sustained.lost`."""
    size = Size(applications=GROUPS, apis=GROUPS, groups=GROUPS, runtimes=GROUPS * PER_GROUP)
    found = []
    async with director(work / "sustained", size) as (ours, mint), bare(mint, size) as floor:
        bundle, who = readers(mint, range(size.runtimes))
        for server in (ours, floor):
            async with fleet(work, server.address, server.path, bundle, who) as streaming:
                await streaming.open()
                found.append(await _sustain(Side(server, streaming)))
    (ours_times, early, late, lost), (floor_times, *_) = found
    what = f"{RATE} changes a second for {SECONDS} s onto {size.runtimes} Runtimes in {GROUPS} groups"
    return {
        "sustained.p99": Figure(
            p99(ours_times),
            p99(floor_times),
            "ms",
            f"{what}, commit to receipt, 99th percentile, beside the bare server",
            (ours_times, floor_times),
        ),
        "sustained.memory": Figure(late / _MIB, early / _MIB, "MiB", f"{what}: server memory at the end, beside early"),
        "sustained.lost": Figure(lost, size.runtimes, "", "of these Runtimes, those that lack the last change, of all"),
    }


async def growth(work: Path) -> dict[str, Figure]:
    """`growth.fanout`: what a change costs where as many Runtimes are streamed of a registry ten times as large."""
    small = Size(applications=500, apis=5_000, groups=GROUPS, runtimes=GROUPS * PER_GROUP)
    large = Size(*(_TENFOLD * each for each in (small.applications, small.apis, small.groups, small.runtimes)))
    costs: list[list[float]] = [[], []]
    async with AsyncExitStack() as stack:
        sides = [
            await stack.enter_async_context(_streamed(work / name, size, work))
            for name, size in (("growth-large", large), ("growth-small", small))
        ]
        for number in range(ROUNDS):
            sys.stderr.write(f"bench: changes of {PER_GROUP} streams, round {number + 1} of {ROUNDS}\n")
            for side, into in zip(sides, costs, strict=True):
                before = cpu_seconds(side.server.pid)
                for changed in range(CHANGES * 2):
                    change = await side.server.change(changed % GROUPS)
                    await side.fleet.wait(change.revision, [changed % GROUPS])
                into.append((cpu_seconds(side.server.pid) - before) / CHANGES / 2 * 1e6)
    what = f"server CPU of one change to {PER_GROUP} streams of {small.runtimes}, commit and all, {large.runtimes:,}"
    return {
        "growth.fanout": figure(
            map(statistics.median, costs), "us", f"{what} Runtimes in the registry, beside {small.runtimes}"
        )
    }


@asynccontextmanager
async def _streamed(folder: Path, size: Size, work: Path) -> AsyncIterator[Side]:
    """A Director, with streams to ten Runtimes of each of the first groups, however many there are."""
    sys.stderr.write(f"bench: a registry of {size}, {size.runtimes:,} runtimes\n")
    async with director(folder, size) as (server, mint):
        numbers = [group + size.groups * each for each in range(PER_GROUP) for group in range(GROUPS)]
        bundle, who = readers(mint, numbers)
        async with fleet(work, server.address, server.path, bundle, who) as streaming:
            await streaming.open()
            yield Side(server, streaming)


async def _rounds(server: Server, streaming: Fleet) -> list[float]:
    times = []
    for _ in range(CHANGES):
        change = await server.change()
        times += [(at - change.at) / 1e6 for at in await streaming.wait(change.revision)]
    return times


async def _sustain(side: Side) -> tuple[list[float], int, int, int]:
    """Milliseconds of each receipt, bytes of memory early and late, and how many Runtimes lack their last change."""
    await side.fleet.take()
    changes: list[list[Change]] = [[] for _ in range(GROUPS)]
    begin, early = time.monotonic(), 0
    for number in range(RATE * SECONDS):
        wait = begin + number / RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        changes[number % GROUPS].append(await side.server.change(number % GROUPS))
        if number == RATE * SECONDS // 6:
            early = side.server.memory()
    await asyncio.sleep(_SETTLE)
    received = await side.fleet.take()
    times, lost = [], 0
    for number, receipts in enumerate(received):
        mine = changes[number % GROUPS]
        times += _latencies(mine, receipts)
        lost += not receipts or receipts[-1].revision < mine[-1].revision
    return times, early, side.server.memory(), lost


def _latencies(changes: Sequence[Change], receipts: Sequence[Receipt]) -> list[float]:
    """Of each change, until the reader had it, or what came after it."""
    found, left = [], iter(receipts)
    receipt = next(left, None)
    for change in changes:
        while receipt is not None and receipt.revision < change.revision:
            receipt = next(left, None)
        if receipt is None:
            break
        found.append((receipt.at - change.at) / 1e6)
    return found

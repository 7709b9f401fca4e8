"""What a random walk over real streams does, at real Directors that are killed now and then.

A round makes a part of the registry of its own, with a reader for each Runtime, and ends with every reader having
exactly its view; whatever a reader is sent meanwhile, it checks (see `tests.support.stream_reader`). Two agents are
there through all rounds.
"""

import asyncio
import json
import random
import signal
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import grpc
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from moorage.director.v1.group_pb2 import BatchUpdateGroupMembersRequest, DeleteGroupRequest, GroupMembersChange
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest

from tests.integration.agent.plane import Agent
from tests.integration.director_registry.process import DirectorProcess
from tests.support.stream_plane import Reader, StreamPlane, compact

T = TypeVar("T")

AGENTS = 2
IN_FLIGHT = 6
"""Changes that are under way when a Director is killed."""

_ONE = st.integers(0, 9)
_SOME = st.sets(_ONE, max_size=3)


def _some(items: Sequence[T], indexes: set[int]) -> list[T]:
    """Those of `items` that the indexes fall on, each once."""
    return [items[i] for i in sorted({index % len(items) for index in indexes})] if items else []


class World:
    """The Directors and the agents of a walk. Every `kills_every` rounds a Director is killed, and maybe an agent."""

    def __init__(self, folder: Path, processes: Sequence[DirectorProcess], url: str) -> None:
        self.loop = asyncio.Runner()
        self.processes = processes
        self.url = url
        self.kills_every = 1
        self.registry = StreamPlane(folder, processes[0].mint, [each.settings["listen"] for each in processes])
        self.agents: dict[str, Agent] = {}
        self.rounds = 0
        self.kills = 0
        self.compactions = 0
        self.messages = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    async def start(self) -> None:
        await asyncio.gather(*(each.start() for each in self.processes))
        for _ in range(AGENTS):
            runtime = await self.registry.runtime()
            self.agents[runtime] = await self.registry.agent(runtime)

    async def close(self) -> None:
        try:
            await self.registry.close()
        finally:
            await asyncio.gather(*(each.close() for each in self.processes))

    async def agents_have_their_views(self) -> None:
        """Each runs what the plane shows, and applied no revision twice or after a later one."""
        for runtime, agent in self.agents.items():
            await self.registry.applied(agent, runtime, connected=True)
            revisions = [each["revision"] for each in _said(agent) if each.get("event") == "applied"]
            assert revisions == sorted(set(revisions))


class Walk(RuleBasedStateMachine):
    """Applications, groups and Runtimes come and go under readers that come and go, too."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.registry = world.registry
        world.rounds += 1
        self.may_kill_a_director = self.may_kill_an_agent = self.kills = world.rounds % world.kills_every == 0
        self.applications: list[str] = []
        self.runtimes: list[str] = []
        self.readers: list[Reader] = []
        self.members: dict[str, set[str]] = {}
        """Of each group, the ids of what is in it."""
        world.run(self._begin())

    async def _begin(self) -> None:
        self.applications = list(await asyncio.gather(*(self.registry.application() for _ in range(4))))
        self.runtimes = list(await asyncio.gather(*(self.registry.runtime() for _ in range(3))))
        for i in range(3):
            await self._new_group(self.applications[i : i + 2], [self.runtimes[i], *list(self.world.agents)[i : i + 1]])
        for each in self.runtimes:
            await self._new_reader(each)

    @property
    def groups(self) -> list[str]:
        return list(self.members)

    @rule(groups=_SOME)
    def create_application(self, groups: set[int]) -> None:
        async def create() -> None:
            self.applications.append(await self.registry.application())
            for each in _some(self.groups, groups):
                await self._join(each, [self.applications[-1]], [])

        self.world.run(create())

    @rule(groups=_SOME)
    def create_runtime(self, groups: set[int]) -> None:
        async def create() -> None:
            chosen = _some(self.groups, groups)
            self.runtimes.append(await self.registry.runtime(*chosen))
            for each in chosen:
                self.members[each].add(self.runtimes[-1])
            await self._new_reader(self.runtimes[-1])

        self.world.run(create())

    @rule(applications=_SOME, times=st.integers(1, 5))
    def change(self, applications: set[int], times: int) -> None:
        """Some applications change several times, all at once."""
        chosen = _some(self.applications, applications) * times
        self.world.run(_all(self.registry.describe(each, _word()) for each in chosen))

    @rule(application=_ONE)
    def create_api(self, application: int) -> None:
        self.world.run(_all(self.registry.api(each, _word()) for each in _some(self.applications, {application})))

    @rule(group=_ONE, applications=_SOME, runtimes=_SOME)
    def join(self, group: int, applications: set[int], runtimes: set[int]) -> None:
        chosen = _some(self.applications, applications), _some(self.runtimes, runtimes)
        for group_id in _some(self.groups, {group}):
            if any(chosen):
                self.world.run(self._join(group_id, *chosen))

    @rule(group=_ONE, applications=_SOME, runtimes=_SOME)
    def leave(self, group: int, applications: set[int], runtimes: set[int]) -> None:
        for group_id in _some(self.groups, {group}):
            there = self.members[group_id]
            leaving = [each for each in _some(self.applications, applications) if each in there]
            going = [each for each in _some(self.runtimes, runtimes) if each in there]
            if leaving or going:
                self.world.run(self.registry.leave(group_id, leaving, going))
                there -= {*leaving, *going}

    @rule(group=_ONE, other=_ONE)
    def regroup(self, group: int, other: int) -> None:
        """All that is in a group goes to another, in one revision."""
        for old, new in zip(_some(self.groups, {group}), _some(self.groups, {other}), strict=True):
            moving = self.members[old]
            if old == new or not moving:
                continue
            applications = [each for each in moving if each in self.applications]
            runtimes = [each for each in moving if each not in applications]
            changes = [
                GroupMembersChange(group_id=old, remove_application_ids=applications, remove_runtime_ids=runtimes),
                GroupMembersChange(group_id=new, add_application_ids=applications, add_runtime_ids=runtimes),
            ]
            self.world.run(
                self.registry.call("BatchUpdateGroupMembers", BatchUpdateGroupMembersRequest(changes=changes))
            )
            self.members[new] |= moving
            self.members[old] = set()

    @rule(application=_ONE)
    def delete_application(self, application: int) -> None:
        for application_id in _some(self.applications, {application}):
            self.world.run(self.registry.delete_application(application_id))
            self.applications.remove(application_id)
            self._forget(application_id)

    @rule(group=_ONE)
    def replace_group(self, group: int) -> None:
        async def replace(group_id: str) -> None:
            await self.registry.call("DeleteGroup", DeleteGroupRequest(group_id=group_id, force=True))
            del self.members[group_id]
            await self._new_group([], [])

        for each in _some(self.groups, {group}):
            self.world.run(replace(each))

    @rule(runtime=_ONE)
    def delete_runtime(self, runtime: int) -> None:
        for runtime_id in _some(self.runtimes, {runtime}):
            request = DeleteRuntimeRequest(runtime_id=runtime_id, force=True)
            self.world.run(self.registry.call("DeleteRuntime", request))
            self.runtimes.remove(runtime_id)
            self._forget(runtime_id)

    @rule(reader=_ONE)
    def add_reader(self, reader: int) -> None:
        """Another reader of the same Runtime."""
        for first in _some(self.readers, {reader}):
            self.world.run(self._new_reader(first.runtime_id))

    @rule(readers=_SOME)
    def disconnect(self, readers: set[int]) -> None:
        self.world.run(_all(each.disconnect() for each in _some(self.readers, readers)))

    @rule(readers=_SOME, resume=st.booleans(), at=_ONE)
    def reconnect(self, readers: set[int], resume: bool, at: int) -> None:
        async def connect() -> None:
            for reader in _some(self.readers, readers):
                await self._connect(reader, at, resume)

        self.world.run(connect())

    @rule(readers=_SOME)
    def pause(self, readers: set[int]) -> None:
        for reader in _some(self.readers, readers):
            reader.reading.clear()

    @rule(readers=_SOME)
    def go_on(self, readers: set[int]) -> None:
        for reader in _some(self.readers, readers):
            reader.reading.set()

    @rule(milliseconds=st.integers(0, 50))
    def let_it_run(self, milliseconds: int) -> None:
        self.world.run(asyncio.sleep(milliseconds / 1000))

    @rule()
    def compact(self) -> None:
        self.world.compactions += self.world.run(asyncio.to_thread(compact, self.world.url))

    @rule(which=_ONE, milliseconds=st.integers(0, 20))
    def kill_a_director(self, which: int, milliseconds: int) -> None:
        if self.may_kill_a_director:
            self.world.run(self._kill_a_director(which, milliseconds))

    @rule(which=_ONE)
    def kill_an_agent(self, which: int) -> None:
        async def killed() -> None:
            for agent in _some(list(self.world.agents.values()), {which}):
                await agent.kill()
                await self.registry.start(agent)

        if self.may_kill_an_agent:
            self.may_kill_an_agent = False
            self.world.run(killed())

    def teardown(self) -> None:
        self.world.run(self._end())

    async def _end(self) -> None:
        """Every reader that is away comes back, and has exactly its view; those whose Runtime is gone are told so."""
        if self.may_kill_a_director:
            await self._kill_a_director(0, 10)
        for reader in self.readers:
            reader.reading.set()
            if not reader.connected:
                await self._connect(reader, reader.at, resume=True)
        for runtime in {each.runtime_id for each in self.readers} & set(self.runtimes):
            await self._has_its_view(runtime, [each for each in self.readers if each.runtime_id == runtime])
        for reader in self.readers:
            if reader.runtime_id not in self.runtimes:
                await self._is_told_of_its_end(reader)
            self.world.messages += len(reader.messages)
            await self.registry.let_go(reader)
        if self.kills:
            await self.world.agents_have_their_views()

    async def _kill_a_director(self, which: int, milliseconds: int) -> None:
        """With changes under way, which may be made or not."""
        self.may_kill_a_director = False
        self.world.kills += 1
        process = self.world.processes[which % len(self.world.processes)]
        chosen = [random.choice(self.applications) for _ in range(IN_FLIGHT) if self.applications]
        changes = [asyncio.create_task(self.registry.describe(each, _word())) for each in chosen]
        await asyncio.sleep(milliseconds / 1000)
        await process.end(signal.SIGKILL)
        await process.start()
        await asyncio.gather(*(_made_or_not(each) for each in changes))
        for reader in self.readers:
            if reader.problem is not None and reader.problem.code is grpc.StatusCode.UNAVAILABLE:
                await self._connect(reader, which + 1, resume=True)

    async def _has_its_view(self, runtime: str, readers: Sequence[Reader]) -> None:
        theirs = [members for members in self.members.values() if runtime in members]
        for at in range(len(self.world.processes)):
            shown = await self.registry.afresh(runtime, at)
            assert set(shown.view) == set[str]().union(*theirs) & set(self.applications)
            for reader in readers:
                await self._follow(reader, shown)
                assert reader.content_sha256 == shown.content_sha256

    async def _follow(self, reader: Reader, shown: Reader) -> None:
        """Wait until a reader has what is shown."""
        while True:
            await reader.until_or_over(lambda each: each.view == shown.view)
            if reader.connected:
                return
            await reader.over()
            assert await self._comes_again(reader), reader.problem

    async def _is_told_of_its_end(self, reader: Reader) -> None:
        await reader.over()
        while await self._comes_again(reader):
            await reader.over()
        assert reader.problem is not None
        assert reader.problem.reason == "RUNTIME_NOT_FOUND"

    async def _comes_again(self, reader: Reader) -> bool:
        """Have it, where its stream ended with its Director: one that was paused may only now learn of that."""
        was_killed = reader.problem is not None and reader.problem.code is grpc.StatusCode.UNAVAILABLE
        if was_killed:
            await self._connect(reader, reader.at, resume=True)
        return was_killed

    async def _new_group(self, applications: Sequence[str], runtimes: Sequence[str]) -> None:
        self.members[await self.registry.group(applications, runtimes)] = {*applications, *runtimes}

    async def _new_reader(self, runtime: str) -> None:
        self.readers.append(self.registry.reader(runtime))
        await self._connect(self.readers[-1], len(self.readers), resume=False)

    async def _connect(self, reader: Reader, at: int, resume: bool) -> None:
        await reader.disconnect()  # raises what it found wrong
        self.world.messages += len(reader.messages)
        reader.at = at % len(reader.channels)
        reader.connect(resume=resume)

    async def _join(self, group_id: str, applications: Sequence[str], runtimes: Sequence[str]) -> None:
        await self.registry.join(group_id, applications, runtimes)
        self.members[group_id] |= {*applications, *runtimes}

    def _forget(self, member: str) -> None:
        for each in self.members.values():
            each.discard(member)


async def _made_or_not(change: asyncio.Task[int]) -> None:
    with suppress(grpc.aio.AioRpcError):
        await change


async def _all(work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    await asyncio.gather(*work)


def _word() -> str:
    return f"{random.random()}"


def _said(agent: Agent) -> Iterator[dict[str, Any]]:
    for line in agent.log.read_text().splitlines():
        if line.startswith("{"):
            yield json.loads(line)

"""Whatever a party sends, the Director answers it, from its catalogue, and goes on as before."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from moorage.access.v1.access_pb2 import Role
from moorage.director.v1 import director_pb2
from moorage.director.v1.application_pb2 import GetApplicationRequest
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from mesh.channel import LiveChannel
from mesh.errors import Problem
from tests.integration.director_registry.process import DirectorProcess
from tests.support.fuzz import Drawn, Draws, Party

SERVICE = director_pb2.DESCRIPTOR.services_by_name["Director"]
SEED = 3
AT_ONCE = 16
ANSWER = 60.0
"""Seconds in which each request is answered, on a machine with much else to do."""

UNMAKING = ("DeleteApplication", "DeleteRuntime", "DeleteGroup", "RemoveGroupMembers", "BatchUpdateGroupMembers")
"""What would take from the parties what they are, or that one serves the other."""

FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED}
MOST_GROWTH = 1.5
MOST_MORE_KIB = 64 * 1024


@pytest.fixture
async def director(database_url: str, tmp_path: Path) -> AsyncIterator[DirectorProcess]:
    """A Director on each engine."""
    director = DirectorProcess(tmp_path)
    director.settings["database"] = database_url
    await director.start()
    yield director
    await director.close()


@pytest.mark.timeout(300)
async def test_no_request_is_a_fault_or_hangs(director: DirectorProcess) -> None:
    await Fuzz(director, SEED).run(2_500)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_no_request_is_a_fault_or_hangs_or_costs_memory_in_a_long_run(director: DirectorProcess) -> None:
    await Fuzz(director, SystemRandom().getrandbits(32)).run(100_000)


class Fuzz:
    """Sends random requests of several parties to a Director, many at once."""

    def __init__(self, director: DirectorProcess, seed: int) -> None:
        self._director = director
        self._seed = seed
        self._random = Random(seed)
        self._draws = Draws(SERVICE, self._random)
        self._parties: list[tuple[Party, LiveChannel]] = []
        self._kept: set[bytes] = set()
        self._last_question = GetApplicationRequest()
        self._answers: Counter[tuple[str, str]] = Counter()

    async def run(self, requests: int) -> None:
        """Send so many, the first third of them to warm up; then look what has become of the Director."""
        try:
            await self._meet()
            await self._send(requests // 3)
            warm = self._resident_kib()
            await self._send(requests - requests // 3)
            grown = self._resident_kib()
            await self._serves()
        finally:
            print(f"seed {self._seed}: {json.dumps(self._told(), indent=1)}")
            for _, channel in self._parties:
                await channel.close()
        print(f"KiB after a third: {warm}, after all: {grown}")
        assert grown <= MOST_GROWTH * warm + MOST_MORE_KIB
        assert {method for method, _ in self._answers} == {method.name for method in SERVICE.methods}
        assert sum(count for (_, answer), count in self._answers.items() if answer == "OK") > requests / 10

    async def _meet(self) -> None:
        """Make the parties that call: an Application and a Runtime that it serves, and two that look after them."""
        admin = self._director.stub()
        application, _ = await self._director.application("kept")
        created = await admin.CreateRuntime(CreateRuntimeRequest(runtime=Runtime(name="kept")), timeout=ANSWER)
        group = CreateGroupRequest(
            group=Group(name="kept"),
            application_ids=[application.application_id],
            runtime_ids=[created.runtime.runtime_id],
        )
        kept = (await admin.CreateGroup(group, timeout=ANSWER)).group
        self._kept = {each.encode() for each in (kept.group_id, *group.application_ids, *group.runtime_ids)}
        self._last_question = GetApplicationRequest(application_id=application.application_id)
        own = {"application_id": application.application_id, "runtime_id": created.runtime.runtime_id}
        self._parties = [
            (Party(Role.ROLE_ADMIN), self._channel("admin", "ann")),
            (Party(Role.ROLE_CONNECTOR), self._channel("service", "connector")),
        ]
        for name, id in own.items():
            kind = name.removesuffix("_id")
            self._parties.append((Party(Role.Value(f"ROLE_{kind.upper()}"), own), self._channel(kind, id)))

    def _channel(self, kind: str, name: str) -> LiveChannel:
        return LiveChannel(self._director.settings["listen"], self._director.mint.identity(kind, name))

    async def _send(self, requests: int) -> None:
        waiting = iter(range(requests))

        async def some() -> None:
            for _ in waiting:
                await self._one()

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(some())

    async def _one(self) -> None:
        [(party, channel)] = self._random.choices(self._parties, (12, 1, 4, 4))
        drawn = self._draws.draw(party)
        while drawn.method.name in UNMAKING and any(id in drawn.content.lower() for id in self._kept):
            drawn = self._draws.draw(party)
        try:
            answer = await _answer(channel, drawn)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            known = problem.as_refusal()
            what = f"seed {self._seed}, as {party}: {drawn.method.name} {drawn.content[:2000]!r}: {problem}"
            assert known is not None, what
            assert known.code == problem.code, what
            assert problem.code not in FAULTS, f"{what}\n{self._director.log[-5000:]}"
            self._answers[drawn.method.name, problem.reason] += 1
            if problem.reason.endswith("_NOT_FOUND"):
                self._draws.forget(drawn, problem.reason.removesuffix("_NOT_FOUND").lower())
        else:
            self._answers[drawn.method.name, "OK"] += 1
            self._draws.learn(drawn, answer)

    async def _serves(self) -> None:
        assert self._director.process
        assert self._director.process.returncode is None
        assert '"level": "error"' not in self._director.log
        await self._director.stub().GetApplication(self._last_question, timeout=ANSWER)

    def _resident_kib(self) -> int:
        assert self._director.process
        status = Path(f"/proc/{self._director.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def _told(self) -> dict[str, dict[str, int]]:
        told: dict[str, dict[str, int]] = {}
        for (method, answer), count in sorted(self._answers.items()):
            told.setdefault(method, {})[answer] = count
        return told


async def _answer(channel: LiveChannel, drawn: Drawn) -> bytes:
    """The answer to a unary call, or the first message of a stream, which is then closed."""
    path = _path(drawn.method)
    if not drawn.method.server_streaming:
        unary: Any = channel.channel.unary_unary(path)
        answer: bytes = await unary(drawn.content, timeout=ANSWER)
        return answer
    stream: Any = channel.channel.unary_stream(path)
    call = stream(drawn.content, timeout=ANSWER)
    async for message in call:
        call.cancel()
        first: bytes = message
        return first
    raise AssertionError(f"{path} ended without a message")


def _path(method: MethodDescriptor) -> str:
    return f"/{SERVICE.full_name}/{method.name}"

"""Several real Directors on one PostgreSQL, and clients that go to another when one is away."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from moorage.director.v1.director_pb2_grpc import DirectorStub

from certs.identity import Identity
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from tests.integration.director_registry.process import DirectorProcess
from tests.support.identities import Mint
from tests.support.postgresql import PostgresqlServer

PATIENCE = 60.0
"""Seconds that one call has with all its attempts; none of them is to take so long."""


class Directors:
    """Directors that share their databases, the sealing key and a trust domain; each has a folder below `home`."""

    def __init__(self, home: Path, server: PostgresqlServer, count: int = 2, **settings: str) -> None:
        self.mint = Mint(home / "identities")
        self.admin = self.mint.identity("admin", "ann")
        self.database = server.url(server.create_database())
        self.dbos_database = server.url(server.create_database())
        shared = {
            "database": self.database,
            "dbos_database": self.dbos_database,
            "sealing_key": str(home / "sealing.key"),
            **settings,
        }
        self.processes: list[DirectorProcess] = []
        for number in range(count):
            folder = home / f"director-{number}"
            folder.mkdir()
            process = DirectorProcess(folder)
            identity = self.mint.identity("service", "director")
            process.settings |= {**shared, "identity": str(identity.folder), "instance_id": f"director-{number}"}
            self.processes.append(process)
        self._channels: list[LiveChannel] = []

    async def start(self) -> None:
        """Start them all at once."""
        await asyncio.gather(*(each.start() for each in self.processes))

    async def close(self) -> None:
        """Kill those that run."""
        await asyncio.gather(*(each.close() for each in self._channels))
        await asyncio.gather(*(each.close() for each in self.processes))

    def channels(self, identity: Identity | None = None) -> list[LiveChannel]:
        """A connection of its own to each of them, as the administrator unless told otherwise."""
        made = [LiveChannel(each.settings["listen"], identity or self.admin) for each in self.processes]
        self._channels += made
        return made

    def client(self, identity: Identity | None = None, first: int | None = None) -> "Client":
        """A client of all of them, which begins with one of them."""
        return Client(self.channels(identity), first)

    async def health(self, number: int, service: str = "moorage.director.v1.Director") -> str:
        """What one of them says of a service, or of itself by the empty name."""
        if not self._channels:
            self.channels()
        stub: Any = self._channels[number].stub(HealthStub)
        answer = await stub.Check(HealthCheckRequest(service=service), timeout=PATIENCE)
        return HealthCheckResponse.ServingStatus.Name(answer.status)


class Client:
    """Calls one of the Directors, and another where that one is UNAVAILABLE."""

    def __init__(self, channels: Sequence[LiveChannel], first: int | None = None) -> None:
        self._channels = channels
        self.at = random.randrange(len(channels)) if first is None else first
        """Which of them it calls now."""
        self.moves = 0
        """How often it went to another."""

    @property
    def stub(self) -> DirectorStub:
        """The Director that it calls now."""
        return self._channels[self.at].stub(DirectorStub)

    def move(self) -> None:
        """Call the next one from now on."""
        self.at = (self.at + 1) % len(self._channels)
        self.moves += 1

    async def call(self, method: str, request: Message) -> Any:
        """Call until there is an answer; a request that changes something must be harmless to repeat.

        That what is to be deleted is gone is well on a second attempt: the answer to the first was lost.
        """
        loop = asyncio.get_running_loop()
        last = loop.time() + PATIENCE
        backoff = Backoff(timedelta(milliseconds=50), timedelta(seconds=1))
        repeated = False
        while True:
            try:
                return await getattr(self.stub, method)(request, timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                if repeated and method.startswith("Delete") and error.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                if error.code() is not grpc.StatusCode.UNAVAILABLE or loop.time() > last:
                    raise
            repeated = True
            self.move()
            await asyncio.sleep(backoff.next())

"""The two servers that are compared: a Director, alone and on a registry of a given size, and a bare server."""

import asyncio
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, NamedTuple

import sqlalchemy
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group

from bench.bare import BareStub
from bench.processes import READY_WITHIN, NotReady
from bench.seed import Size, api_id, application_id, runtime_id, seed
from bench.stream.fleet import Reader
from mesh.channel import open_channel
from tests.integration.connector.plane import Plane
from tests.integration.director_registry.process import DirectorProcess
from tests.support.identities import Mint

PAYLOAD = 1024
"""Bytes of a change, more or less."""


class Change(NamedTuple):
    """A change that a server took."""

    revision: int
    at: int
    """When it was committed, or a little before; nanoseconds since the epoch."""


class Server(ABC):
    """What is measured. `path` is the method that streams."""

    path: str
    address: str

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process."""

    @abstractmethod
    async def change(self, number: int = 0) -> Change:
        """Change what the streams of one application, by its number in the seed, are sent: by `PAYLOAD` bytes."""

    @abstractmethod
    async def change_one(self) -> Change:
        """Change what the first Runtime alone is sent."""

    @abstractmethod
    async def kill(self) -> None:
        """Kill it, without a word."""

    @abstractmethod
    async def start(self) -> None:
        """Start it where it was, and wait until it listens."""

    def memory(self) -> int:
        """Bytes of it that are resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise NotReady("the server has ended")


class Director(Server):
    """The Director."""

    path = "/moorage.director.v1.Director/WatchConfiguration"

    def __init__(self, process: DirectorProcess) -> None:
        self._process = process
        self._own: Api | None = None
        self._numbers = count()
        self._stub: Any = process.stub()
        self.address = process.settings["listen"]

    @property
    def pid(self) -> int:
        assert self._process.process is not None
        return self._process.process.pid

    async def change(self, number: int = 0) -> Change:
        return await self._update(Api(application_id=application_id(number), api_id=api_id(number)))

    async def change_one(self) -> Change:
        if self._own is None:
            self._own = await self._make_own()
        return await self._update(self._own)

    async def kill(self) -> None:
        await self._process.end(SIGKILL)

    async def start(self) -> None:
        await self._process.start()

    async def _update(self, api: Api) -> Change:
        described = f"{next(self._numbers):0{PAYLOAD - 300}d}"  # what else the message has is some 300 bytes
        changed = Api(application_id=api.application_id, api_id=api.api_id, description=described)
        stored = (await self._stub.UpdateApi(UpdateApiRequest(api=changed))).api
        return Change(stored.revision, stored.update_time.ToNanoseconds())

    async def _make_own(self) -> Api:
        """An API that only the first Runtime sees."""
        application = Application(name="of-one")
        made = (await self._stub.CreateApplication(CreateApplicationRequest(application=application))).application
        wanted = Api(application_id=made.application_id, name="orders", target_url="http://127.0.0.1:1")
        api: Api = (await self._stub.CreateApi(CreateApiRequest(api=wanted))).api
        group = CreateGroupRequest(group=Group(name="of-one"))
        group.application_ids.append(made.application_id)
        group.runtime_ids.append(runtime_id(0))
        await self._stub.CreateGroup(group)
        return api


class Bare(Server):
    """A bare grpc.aio server that passes on what it is told."""

    path = "/bench.Bare/Watch"

    def __init__(self, mint: Mint, size: Size) -> None:
        self._size = size
        self._identity = mint.identity("service", "director").folder
        self._admin = mint.identity("admin", "ann").load()
        self._listen = "127.0.0.1:0"
        self._process: asyncio.subprocess.Process | None = None
        self._revisions = count(1)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def change(self, number: int = 0) -> Change:
        if self._size.groups == 1:
            return await self._report("")
        return await self._report(",".join(map(runtime_id, range(number, self._size.runtimes, self._size.groups))))

    async def change_one(self) -> Change:
        return await self._report(runtime_id(0))

    async def call(self) -> float:
        """Make a call and have its answer; the seconds that took."""
        begin = time.perf_counter()
        await self._report("nobody")
        return time.perf_counter() - begin

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.bare", str(self._identity)),
            *("--listen", self._listen, "--payload", str(PAYLOAD)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_WITHIN):
            port = int(await self._process.stdout.readline())
        self.address = self._listen = f"127.0.0.1:{port}"
        self._channel = open_channel(self.address, self._admin)
        self._stub = BareStub(self._channel)

    async def _report(self, whose: str) -> Change:
        change = Change(next(self._revisions), time.time_ns())
        await self._stub.report(ReportConfigurationRequest(revision=change.revision, runtime_id=whose))
        return change


@asynccontextmanager
async def director(folder: Path, size: Size) -> AsyncIterator[tuple[Director, Mint]]:
    """A Director on a registry of this size, with a Connector beside it, and who makes identities of its plane."""
    await asyncio.to_thread(folder.mkdir)
    process = DirectorProcess(folder)
    connector = await asyncio.to_thread(_connector, folder / "connector", process)
    try:
        await connector.start()
        await process.start()  # a first run makes the database
        await process.end(SIGTERM)
        engine = sqlalchemy.create_engine(f"sqlite:///{folder}/director.sqlite")
        seed(engine, size)
        engine.dispose()
        await process.start()
        yield Director(process), process.mint
    finally:
        await process.close()
        await connector.close()


def _connector(folder: Path, director: DirectorProcess) -> Plane:
    """What a Director talks to where nothing happens, too: it is told what is revoked, and tells who was seen."""
    folder.mkdir()
    connector = Plane(folder)
    director.mint.issuing.save(folder / "issuing-of-all")
    connector.settings |= {
        "identity": str(director.mint.identity("service", "connector").folder),
        "issuing_authority": str(folder / "issuing-of-all"),
        "director_address": director.settings["listen"],
    }
    director.settings["connector_address"] = connector.settings["listen"]
    return connector


@asynccontextmanager
async def bare(mint: Mint, size: Size) -> AsyncIterator[Bare]:
    """A bare server of the same plane, which tells as many streams of a change as a Director would on that registry."""
    server = Bare(mint, size)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


def readers(mint: Mint, numbers: Iterable[int]) -> tuple[str, list[Reader]]:
    """Runtimes of the seed, each with a certificate of its own, and the roots (PEM) that they trust."""
    found = []
    for number in numbers:
        loaded = mint.identity("runtime", runtime_id(number)).load()
        found.append(Reader(runtime_id(number), loaded.key_pem.decode(), loaded.chain_pem.decode()))
    return mint.root.chain_pem.decode(), found

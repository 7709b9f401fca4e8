"""The registry: what a call costs on 10,000 applications, beside 100, and beside a bare echo in the same run."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import sqlalchemy
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    GetApplicationRequest,
    ListApplicationsRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.director_pb2_grpc import DirectorStub

from bench.bare import BareStub
from bench.figures import Figure
from bench.processes import bare, plane
from bench.seed import LARGE, SMALL, Size, application_id, seed
from bench.side import Side
from certs.identity import Identity
from mesh.channel import open_channel
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer

ROUNDS = 5
CALLS = {"get": 600, "list": 100, "filter": 100, "create": 150, "update": 150}
"""How many in a row, of each call, in a round."""

ROWS = (
    ("read.cpu", "get", "GetApplication"),
    ("write.cpu", "update", "UpdateApplication"),
    ("registry.create", "create", "CreateApplication"),
    ("registry.list", "list", "ListApplications, a page of 50"),
    ("registry.filter", "filter", "ListApplications, a page of 50 by a label"),
)
"""The name of a figure, the call, and what it is."""


@dataclass(frozen=True)
class Registry:
    """A Director on a registry of one size."""

    director: DirectorStub
    pid: int
    database: int | None = None
    """The process of the database's server, where there is one."""

    def calls(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """What is measured; each call is another application's where that is possible."""
        numbers, names = count(), count()
        read = GetApplicationRequest(application_id=application_id(50))
        page = ListApplicationsRequest(page_size=50)
        found = ListApplicationsRequest(page_size=50, filter='labels.tier = "t1"')

        def update() -> Awaitable[object]:
            number = next(numbers)
            changed = Application(application_id=application_id(number % SMALL.applications), description=f"{number}")
            return self.director.UpdateApplication(UpdateApplicationRequest(application=changed))

        def create() -> Awaitable[object]:
            application = Application(name=f"created-{next(names)}", description="Another one.")
            return self.director.CreateApplication(CreateApplicationRequest(application=application))

        return {
            "get": lambda: self.director.GetApplication(read),
            "list": lambda: self.director.ListApplications(page),
            "filter": lambda: self.director.ListApplications(found),
            "create": create,
            "update": update,
        }


async def measure(work: Path) -> dict[str, Figure]:
    """The figures of the registry on SQLite, and the same on PostgreSQL."""
    async with (
        _on_sqlite(work / "large", LARGE) as large,
        _on_sqlite(work / "small", SMALL) as small,
        bare(work / "small" / "identities" / "director") as (address, pid, _),
    ):
        admin = Identity(work / "small" / "identities" / "admin").load()
        async with open_channel(address, admin) as channel:
            floor = BareStub(channel)
            request = GetApplicationRequest(application_id=application_id(50))

            def echo() -> Side:
                return Side(lambda: floor.get(request), pid, CALLS["get"])

            found = await figures(large, small, echo(), "", "SQLite")
            with _server() as server:
                async with (
                    _on_postgresql(work / "large-postgresql", LARGE, server) as large,
                    _on_postgresql(work / "small-postgresql", SMALL, server) as small,
                ):
                    return found | await figures(large, small, echo(), "postgresql.", "PostgreSQL")


async def figures(large: Registry, small: Registry, echo: Side, prefix: str, engine: str) -> dict[str, Figure]:
    """Measure both, taking turns with the `echo`."""
    sides = {
        (name, size): Side(call, registry.pid, CALLS[name], CALLS[name] // 2, registry.database)
        for size, registry in (("large", large), ("small", small))
        for name, call in registry.calls().items()
    }
    for round in range(ROUNDS):
        sys.stderr.write(f"bench: registry on {engine}, round {round + 1} of {ROUNDS}\n")
        await echo.round()
        for side in sides.values():
            await side.round()
    floor = echo.cpu()
    found = {
        key: Figure(sides[name, "large"].cpu(), floor, "us", f"server CPU of one {what}, {LARGE}, beside a bare echo")
        for key, name, what in ROWS
    }
    for key, name in (("change", "update"), ("get", "get"), ("list", "list")):
        found[f"growth.{key}"] = Figure(
            sides[name, "large"].whole_cpu(),
            sides[name, "small"].whole_cpu(),
            "us",
            f"CPU of one {name}, the database's server included, {LARGE}, beside {SMALL}",
        )
    return {f"{prefix}{key}": figure for key, figure in found.items()}


@asynccontextmanager
async def _on_sqlite(home: Path, size: Size) -> AsyncIterator[Registry]:
    with plane(home):
        pass  # a first run makes the home and its databases
    sys.stderr.write(f"bench: seeding {size.applications:,} applications\n")
    engine = sqlalchemy.create_engine(f"sqlite:///{home}/director/director.sqlite")
    seed(engine, size)
    engine.dispose()
    with plane(home) as (at, _):
        admin = Identity(home / "identities" / "admin").load()
        async with open_channel(at.director, admin) as channel:
            yield Registry(DirectorStub(channel), at.pids["director"])


@contextmanager
def _server() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer.started(fsync="on", full_page_writes="on")
    try:
        yield server
    finally:
        server.remove()


@asynccontextmanager
async def _on_postgresql(home: Path, size: Size, server: PostgresqlServer) -> AsyncIterator[Registry]:
    await asyncio.to_thread(home.mkdir)
    directors = Directors(home, server, 1)
    try:
        await directors.start()
        sys.stderr.write(f"bench: seeding {size.applications:,} applications on PostgreSQL\n")
        engine = sqlalchemy.create_engine(directors.database.replace("postgresql:", "postgresql+psycopg:", 1))
        seed(engine, size)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sqlalchemy.text("VACUUM ANALYZE"))  # as the server does by itself before long
        engine.dispose()
        process = directors.processes[0].process
        assert process is not None
        yield Registry(directors.client().stub, process.pid, server.pid)
    finally:
        await directors.close()

"""The registry: what a call costs on 10,000 applications, beside 100, and beside a bare echo in the same run."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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

ROUNDS = 5
CALLS = {"get": 600, "list": 100, "filter": 100, "create": 150, "update": 150}
"""How many in a row, of each call, in a round."""


@dataclass(frozen=True)
class Registry:
    """A Director on a registry of one size."""

    director: DirectorStub
    pid: int

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
    """The figures of the registry on SQLite."""
    async with (
        _registry(work / "large", LARGE) as large,
        _registry(work / "small", SMALL) as small,
        bare(work / "small" / "identities" / "director") as (address, pid, _),
    ):
        admin = Identity(work / "small" / "identities" / "admin").load()
        async with open_channel(address, admin) as channel:
            floor = BareStub(channel)
            request = GetApplicationRequest(application_id=application_id(50))
            return await figures(large, small, Side(lambda: floor.get(request), pid, CALLS["get"]))


async def figures(large: Registry, small: Registry, echo: Side, prefix: str = "") -> dict[str, Figure]:
    """Measure both, taking turns with the `echo`."""
    sides = {
        (name, size): Side(call, registry.pid, CALLS[name], warm_up=CALLS[name] // 2)
        for size, registry in (("large", large), ("small", small))
        for name, call in registry.calls().items()
    }
    for round in range(ROUNDS):
        sys.stderr.write(f"bench: registry, round {round + 1} of {ROUNDS}\n")
        await echo.round()
        for side in sides.values():
            await side.round()
    cpu = {key: side.cpu() for key, side in sides.items()}
    floor = echo.cpu()
    found = {
        f"registry.{name}": Figure(
            cpu[name, "large"], floor, "us", f"server CPU of one {what}, on 10,000 applications, beside a bare echo"
        )
        for name, what in (
            ("get", "read"),
            ("list", "page of 50"),
            ("filter", "page of 50 by a label"),
            ("create", "creation"),
            ("update", "update"),
        )
    }
    found["read.cpu"] = Figure(cpu["get", "large"], floor, "us", "server CPU of one GetApplication, beside a bare echo")
    found["write.cpu"] = Figure(
        cpu["update", "large"], floor, "us", "server CPU of one UpdateApplication, beside a bare echo"
    )
    for key, name in (("change", "update"), ("get", "get"), ("list", "list")):
        found[f"growth.{key}"] = Figure(
            cpu[name, "large"], cpu[name, "small"], "us", f"server CPU of one {name}, 10,000 applications beside 100"
        )
    return {f"{prefix}{key}": figure for key, figure in found.items()}


@asynccontextmanager
async def _registry(home: Path, size: Size) -> AsyncIterator[Registry]:
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

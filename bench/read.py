"""One read: `GetApplication` by an administrator, beside the same message from a bare server."""

from pathlib import Path

from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, GetApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub

from bench.bare import BareStub
from bench.figures import Figure
from bench.processes import bare, plane
from bench.side import Side
from certs.identity import Identity
from mesh.channel import open_channel

ROUNDS = 6
CALLS = 1000
"""In a row, one at a time, in each round of each side."""


async def measure(work: Path) -> dict[str, Figure]:
    """`read.cpu` and `read.p50`, the two sides taking turns."""
    home = work / "read"
    with plane(home) as (at, _):
        async with bare(home / "identities" / "director") as (bare_address, bare_pid, _):
            admin = Identity(home / "identities" / "admin").load()
            async with open_channel(at.director, admin) as ours, open_channel(bare_address, admin) as theirs:
                director, floor = DirectorStub(ours), BareStub(theirs)
                create = CreateApplicationRequest(application=Application(name="benchmark", description="To read."))
                created = (await director.CreateApplication(create)).application
                request = GetApplicationRequest(application_id=created.application_id)
                sides = {
                    "moorage": Side(lambda: director.GetApplication(request), at.pids["director"], CALLS),
                    "bare": Side(lambda: floor.get(request), bare_pid, CALLS),
                }
                for _ in range(ROUNDS):
                    for side in sides.values():
                        await side.round()
    moorage, floor_side = sides["moorage"], sides["bare"]
    return {
        "read.cpu": Figure(
            moorage.cpu(),
            floor_side.cpu(),
            "us",
            "server CPU of one GetApplication, beside bare grpc.aio",
        ),
        "read.p50": Figure(
            moorage.p50(), floor_side.p50(), "us", "time of one GetApplication, one at a time, beside bare grpc.aio"
        ),
    }

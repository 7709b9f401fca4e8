"""All services of a plane as real processes: two Directors and two Connectors on one PostgreSQL, and a Provisioner."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from moorage.connector.v1.identity_pb2 import RevocationAction, RevokeIdentityRequest
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from certs.identity import Identity
from mesh.channel import LiveChannel
from mesh.errors import Problem
from tests.integration.provisioner.plane import Plane as ProvisionerProcess
from tests.support.connectors import Connectors
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer

PATIENCE = 20.0
"""Seconds that one call has; none of them is to take so long."""


class Services:
    """The five processes, and connections to each of them. Directors and Provisioner keep their list on disk."""

    def __init__(self, home: Path, server: PostgresqlServer) -> None:
        self.directors = Directors(home, server)
        first_director = self.directors.processes[0].settings["listen"]
        self.connectors = Connectors(home, server, mint=self.directors.mint, director_address=first_director)
        folder = home / "provisioner"
        folder.mkdir()
        self.provisioner = ProvisionerProcess(folder)
        self.provisioner.settings |= {
            "identity": str(self.directors.mint.identity("service", "provisioner").folder),
            "director_address": first_director,
            "connector_address": self._connector(0),
        }
        self.caches = [home / f"revocations-{number}" for number in range(3)]
        for number, director in enumerate(self.directors.processes):
            director.settings["connector_address"] = self._connector(number)
        kept_by: list[dict[str, Any]] = [
            *(each.settings for each in self.directors.processes),
            self.provisioner.settings,
        ]
        for settings, cache in zip(kept_by, self.caches, strict=True):
            settings["revocations_cache"] = str(cache)
        self._channels: list[LiveChannel] = []

    async def start(self, *, connectors: bool = True) -> None:
        """Start those that are to run, the Connectors first."""
        if connectors:
            await self.connectors.start()
        await asyncio.gather(self.directors.start(), self.provisioner.start())

    async def kill(self) -> None:
        """SIGKILL to all of them."""
        await asyncio.gather(
            *(each.end(signal.SIGKILL) for each in self.directors.processes),
            *(each.end(signal.SIGKILL) for each in self.connectors.planes),
            self.provisioner.end(signal.SIGKILL),
        )

    async def close(self) -> None:
        """Kill those that run."""
        await asyncio.gather(*(each.close() for each in self._channels))
        await asyncio.gather(self.directors.close(), self.connectors.close(), self.provisioner.close())

    async def runtime(self, folder: Path) -> tuple[str, Identity]:
        """A new Runtime that enrolled by a token: its id, and its identity in `folder`."""
        created = await self.directors.client().call("CreateRuntime", CreateRuntimeRequest(runtime=Runtime(name="one")))
        runtime_id: str = created.runtime.runtime_id
        return runtime_id, await self.connectors.enrol(1, await self.connectors.token(runtime_id=runtime_id), folder)

    async def ban(self, runtime_id: str) -> None:
        """Revoke a Runtime's identity at one Connector."""
        request = RevokeIdentityRequest(
            runtime_id=runtime_id,
            action=RevocationAction.REVOCATION_ACTION_BAN,
            reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE,
        )
        await self.connectors.connector(1).RevokeIdentity(request, timeout=PATIENCE, wait_for_ready=True)

    def channels(self, identity: Identity) -> Sequence[tuple[str, LiveChannel]]:
        """A connection to each process as that party, with the name of the service."""
        addresses = [
            *(("director", each.settings["listen"]) for each in self.directors.processes),
            *(("connector", each.settings["listen"]) for each in self.connectors.planes),
            ("provisioner", str(self.provisioner.settings["listen"])),
        ]
        made = [(service, LiveChannel(address, identity)) for service, address in addresses]
        self._channels += [channel for _, channel in made]
        return made

    def _connector(self, number: int) -> str:
        return self.connectors.planes[number].settings["listen"]


async def reason_of(channel: LiveChannel) -> str:
    """Why a call that any party may make is refused; empty where it is answered."""
    stub: Any = channel.stub(HealthStub)
    try:
        await stub.Check(HealthCheckRequest(), timeout=PATIENCE, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        return Problem.of(error).reason or f"{error.code().name}: {error.details()}"
    return ""

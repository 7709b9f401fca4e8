"""A plane of doubles on real listeners, and real agent processes."""

import asyncio
import json
import os
import secrets
import signal
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.connector_pb2_grpc import add_ConnectorServicer_to_server
from moorage.director.v1 import director_pb2
from moorage.director.v1.director_pb2_grpc import add_DirectorServicer_to_server

from certs.check import root_pin
from certs.token import OneTimeToken
from mesh.server import MeshServer, Service
from tests.integration.agent.doubles import ConnectorDouble, DirectorDouble
from tests.support.identities import Mint
from tests.support.wait import eventually

RUNTIME_ID = str(uuid.UUID(int=7))
DIRECTOR = director_pb2.DESCRIPTOR.services_by_name["Director"]
CONNECTOR = connector_pb2.DESCRIPTOR.services_by_name["Connector"]


class Plane:
    """The Director's and the Connector's double, and one home for an agent."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.token_file = folder / "token"
        self.config = folder / "agent.toml"
        self.mint = Mint(folder / "identities")
        self.director = DirectorDouble()  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
        self.connector = ConnectorDouble(  # type: ignore[abstract]  # as above
            self.mint, RUNTIME_ID, timedelta(hours=1)
        )
        self._identities = {name: self.mint.identity("service", name) for name in ("director", "connector")}
        self._servers: dict[str, MeshServer] = {}
        self._agents: list[Agent] = []

    async def start(self) -> None:
        addresses = self.connector.addresses
        addresses.connector = await self._serve("connector")
        addresses.enrolment = await self._serve("enrolment")
        await self.start_director()
        self.configure()

    async def start_director(self) -> None:
        """Start it where it was, if it was anywhere."""
        self.connector.addresses.director = await self._serve("director", self.connector.addresses.director)

    async def stop_director(self) -> None:
        await self._servers.pop("director").stop()

    async def close(self) -> None:
        for agent in self._agents:
            await agent.kill()
        for server in self._servers.values():
            await server.stop()

    def configure(self, **settings: Any) -> None:
        """Write the agent's settings file."""
        values = {"home": str(self.home), "token_file": str(self.token_file), **settings}
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        self.config.write_text("\n".join(["[agent]", *lines, ""]))

    def token(self) -> str:
        """A one-time token that the Connector takes."""
        pin = bytes.fromhex(root_pin(self.mint.root.certificate))
        address = self.connector.addresses.enrolment
        self.connector.token = OneTimeToken(address, (pin,), secrets.token_bytes(32)).encode()
        return self.connector.token

    def give_token(self, token: str | None = None) -> None:
        self.token_file.write_text(f"{token or self.token()}\n")
        self.token_file.chmod(0o600)

    async def agent(self, *options: str, stdin: str = "") -> "Agent":
        """Start an agent in the home."""
        agent = Agent(self.home)
        self._agents.append(agent)
        await agent.start("--config", str(self.config), *options, stdin=stdin)
        return agent

    async def _serve(self, name: str, address: str = "") -> str:
        if name == "director":
            service = Service(DIRECTOR, lambda server: add_DirectorServicer_to_server(self.director, server))
        else:
            service = Service(CONNECTOR, lambda server: add_ConnectorServicer_to_server(self.connector, server))
        identity = self._identities["director" if name == "director" else "connector"]
        server = MeshServer(address or "127.0.0.1:0", identity, [service], enrolment=name == "enrolment")
        self._servers[name] = server
        return f"127.0.0.1:{await server.start()}"


class Agent:
    """One agent's process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home.parent / "agent.log"
        self.process: asyncio.subprocess.Process

    async def start(self, *arguments: str, stdin: str) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agent", *arguments, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log
            )
        assert self.process.stdin is not None
        self.process.stdin.write(stdin.encode())
        self.process.stdin.close()

    async def status(self, what: str, **expected: Any) -> dict[str, Any]:
        """The status, once it is as `expected`."""

        async def look() -> dict[str, Any] | None:
            status = self.read_status()
            return status if all(status.get(name) == value for name, value in expected.items()) else None

        return await eventually(what, look)

    def read_status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads((self.home / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return status

    def shown(self, name: str) -> dict[str, Any]:
        """A file of the configuration that the Runtime is shown."""
        content: dict[str, Any] = json.loads((self.home / "configuration" / "current" / name).read_text())
        return content

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        async with asyncio.timeout(20):
            return await self.process.wait()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()

"""The real Director as a process of its own, and what tests do with it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub

from certs.identity import Identity
from mesh.channel import LiveChannel
from mesh.errors import Problem
from tests.support.identities import Mint

READY_TIMEOUT = 45.0
"""Seconds that the Director may take to start, or to stop, on a busy machine."""


class DirectorProcess:
    """A Director's folder, settings and process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mint = Mint(folder / "identities")
        self.admin = self.mint.identity("admin", "ann")
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.settings = {
            "identity": str(self.mint.identity("service", "director").folder),
            "database": f"sqlite:///{folder}/director.sqlite",
            "dbos_database": f"sqlite:///{folder}/dbos.sqlite",
            "sealing_key": str(folder / "sealing.key"),
            "listen": address,
            "connector_address": "127.0.0.1:1",  # nobody is there, unless a test says otherwise
        }
        self.process: asyncio.subprocess.Process | None = None
        self._channels: list[LiveChannel] = []

    @property
    def log(self) -> str:
        """Everything that it wrote to its output, over all its starts."""
        return (self.folder / "director.log").read_text()

    async def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.setblocking(False)
            address = self.folder / "notify"
            address.unlink(missing_ok=True)
            notices.bind(str(address))
            self.process = await self.launch(NOTIFY_SOCKET=str(address))
            ready = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(notices, 64))
            ended = asyncio.ensure_future(self.process.wait())
            await asyncio.wait((ready, ended), timeout=READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            assert ready.done(), f"the Director is not ready: {self.log}"
            assert ready.result() == b"READY=1"

    async def launch(self, **environ: str) -> asyncio.subprocess.Process:
        """Start the process with the settings as they are now."""
        config = self.folder / "moorage.toml"
        config.write_text("[director]\n" + "".join(f'{name} = "{value}"\n' for name, value in self.settings.items()))
        with (self.folder / "director.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "director", "--config", str(config)),
                env={**os.environ, **environ},
                stdout=log,
                stderr=log,
            )

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal, and wait for its end; its exit code."""
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(READY_TIMEOUT):
            return await self.process.wait()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        if self.process:
            await self.end(signal.SIGKILL)

    def stub(self, identity: Identity | None = None) -> DirectorStub:
        """A stub, as the administrator unless told otherwise."""
        channel = LiveChannel(self.settings["listen"], identity or self.admin)
        self._channels.append(channel)
        return channel.stub(DirectorStub)

    async def application(self, name: str) -> tuple[Application, DirectorStub]:
        """A new application, and a stub that speaks as it."""
        request = CreateApplicationRequest(application=Application(name=name))
        created = (await self.stub().CreateApplication(request, timeout=10)).application
        return created, self.stub(self.mint.identity("application", created.application_id))


async def problem_of(call: Awaitable[Any]) -> Problem:
    """The problem that `call` ends with; fails where it ends well."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Problem.of(caught.value)

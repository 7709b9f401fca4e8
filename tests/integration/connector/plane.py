"""The real Connector as a process of its own, a double for the Director, and what tests do with both."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import sys
import uuid
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1 import director_pb2
from moorage.director.v1.application_pb2 import (
    Application,
    ConfirmPairingRequest,
    ConfirmPairingResponse,
    GetApplicationRequest,
    GetApplicationResponse,
)
from moorage.director.v1.director_pb2_grpc import DirectorServicer, add_DirectorServicer_to_server
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, GetRuntimeResponse, Runtime
from moorage.director.v1.webhook_pb2 import DeliverTokenRequest, DeliverTokenResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.token import OneTimeToken
from mesh.channel import LiveChannel
from mesh.errors import Problem, Refusal
from mesh.server import MeshServer, Service
from tests.support.identities import Mint

APPLICATION_ID = "11111111-1111-4111-8111-111111111111"
RUNTIME_ID = "22222222-2222-4222-8222-222222222222"
UNKNOWN_ID = "99999999-9999-4999-8999-999999999999"

READY_TIMEOUT = 20.0
"""Seconds that the Connector may take to start on a busy machine."""

_DIRECTOR = director_pb2.DESCRIPTOR.services_by_name["Director"]


class DirectorDouble(DirectorServicer):
    """Stands in for the Director: says that the parties in `known` exist, and hands over tokens as it is told.

    Served over the real mTLS and pipeline.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Be as at first: for another test with the same Connector."""
        self.known = {APPLICATION_ID, RUNTIME_ID}
        self.asked_by: list[str] = []
        self.paired: list[str] = []
        self.pairing_urls = {APPLICATION_ID}
        self.delivered: list[DeliverTokenRequest] = []
        self.webhook_failure = ""
        self.webhook_answers = asyncio.Event()
        self.webhook_answers.set()

    def registered(self) -> str:
        """The id of one more Application, which nobody has asked for."""
        application_id = str(uuid.uuid4())
        self.known.add(application_id)
        return application_id

    async def GetApplication(self, request: GetApplicationRequest, context: Any) -> GetApplicationResponse:
        self._check(request.application_id, Reason.REASON_APPLICATION_NOT_FOUND, context)
        return GetApplicationResponse(application=Application(application_id=request.application_id))

    async def GetRuntime(self, request: GetRuntimeRequest, context: Any) -> GetRuntimeResponse:
        self._check(request.runtime_id, Reason.REASON_RUNTIME_NOT_FOUND, context)
        return GetRuntimeResponse(runtime=Runtime(runtime_id=request.runtime_id))

    async def ConfirmPairing(self, request: ConfirmPairingRequest, context: Any) -> ConfirmPairingResponse:
        self.paired.append(request.application_id)
        return ConfirmPairingResponse()

    async def DeliverToken(self, request: DeliverTokenRequest, context: Any) -> DeliverTokenResponse:
        self._check(request.application_id, Reason.REASON_APPLICATION_NOT_FOUND, context)
        if request.application_id not in self.pairing_urls:
            raise Refusal(Reason.REASON_PAIRING_URL_MISSING, "no pairing URL")
        if not request.token:
            return DeliverTokenResponse()
        self.delivered.append(request)
        await self.webhook_answers.wait()
        return DeliverTokenResponse(delivered=not self.webhook_failure, failure=self.webhook_failure)

    def _check(self, party_id: str, not_found: Reason.ValueType, context: Any) -> None:
        self.asked_by.append(next(iter(context.auth_context()["peer_spiffe_id"])).decode())
        if party_id not in self.known:
            raise Refusal(not_found, f"there is no {party_id}")


class Plane:
    """A Connector's folder, settings and process, with the Director's double beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mint = Mint(folder / "identities")
        self.mint.issuing.save(folder / "issuing")
        self.director = DirectorDouble()  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
        self.director_identity = self.mint.identity("service", "director")
        self.admin = self.mint.identity("admin", "ann")
        self.database = folder / "connector.sqlite"
        director, connector, enrolment = free_addresses(3)
        self.settings = {
            "identity": str(self.mint.identity("service", "connector").folder),
            "issuing_authority": str(folder / "issuing"),
            "database": f"sqlite:///{self.database}",
            "listen": connector,
            "enrolment_listen": enrolment,
            "director_address": director,
            "connector_address": connector,
            "enrolment_address": enrolment,
            "director_timeout": "0.5",
        }
        self.process: asyncio.subprocess.Process | None = None
        self.release: Path | None = None
        """Where the packages of another release are that the Connector is run from, if any."""
        self._director_server: MeshServer | None = None
        self._channels: list[LiveChannel] = []

    @property
    def log(self) -> Path:
        """Everything that the Connector wrote to its output, over all its starts."""
        return self.folder / "connector.log"

    async def start_director(self) -> None:
        service = Service(_DIRECTOR, lambda server: add_DirectorServicer_to_server(self.director, server))
        self._director_server = MeshServer(self.settings["director_address"], self.director_identity, [service])
        await self._director_server.start()

    async def stop_director(self) -> None:
        if self._director_server:
            await self._director_server.stop()
            self._director_server = None

    async def start(self) -> None:
        """Start the Connector and wait until it says that it is ready."""
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
            assert ready.done(), f"the Connector is not ready: {self.log.read_text()}"
            assert ready.result() == b"READY=1"

    async def launch(self, **environ: str) -> asyncio.subprocess.Process:
        """Start the Connector's process with the settings as they are now."""
        config = self.folder / "moorage.toml"
        config.write_text("[connector]\n" + "".join(f'{name} = "{value}"\n' for name, value in self.settings.items()))
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "connector", "--config", str(config)),
                env={**os.environ, **environ},
                cwd=self.release,  # the first place in which Python looks for a package
                stdout=log,
                stderr=log,
            )

    async def end(self, number: signal.Signals) -> int:
        """Send the Connector a signal, and wait for its end; its exit code."""
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(READY_TIMEOUT):
            return await self.process.wait()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        await self.stop_director()
        if self.process:
            await self.end(signal.SIGKILL)

    def connector(self, identity: Identity | None = None) -> ConnectorStub:
        """A stub for the mTLS listener, as the administrator unless told otherwise."""
        return self.channel(identity).stub(ConnectorStub)

    def channel(self, identity: Identity | None = None) -> LiveChannel:
        channel = LiveChannel(self.settings["connector_address"], identity or self.admin)
        self._channels.append(channel)
        return channel

    async def token(self, application_id: str = "") -> OneTimeToken:
        """A new token for the Application, or else for the Runtime."""
        request = IssueTokenRequest(runtime_id=RUNTIME_ID)
        if application_id:
            request.application_id = application_id
        response = await self.connector().IssueToken(request, timeout=10, wait_for_ready=True)
        return OneTimeToken.decode(response.token)

    @property
    def last_event(self) -> int:
        """The id of the newest event in its audit; 0 where there is none."""
        last: int = self.rows("SELECT coalesce(max(event_id), 0) FROM audit")[0][0]
        return last

    def rows(self, query: str) -> Sequence[sqlite3.Row]:
        """Read the Connector's database beside its process."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query).fetchall()


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


async def problem_of(call: Awaitable[Any]) -> Problem:
    """The problem that `call` ends with; fails where it ends well."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Problem.of(caught.value)

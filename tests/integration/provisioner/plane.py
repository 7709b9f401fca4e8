"""The real Provisioner as a process of its own, with doubles for the Director, the Connector and the agent."""

import asyncio
import os
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from google.longrunning.operations_pb2 import GetOperationRequest, Operation, WaitOperationRequest
from google.longrunning.operations_pb2_grpc import OperationsStub
from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.connector_pb2_grpc import ConnectorServicer, add_ConnectorServicer_to_server
from moorage.connector.v1.revocation_pb2 import RevocationsKind, WatchRevocationsRequest, WatchRevocationsResponse
from moorage.connector.v1.token_pb2 import IssueTokenRequest, IssueTokenResponse
from moorage.director.v1 import director_pb2, runtime_state_pb2
from moorage.director.v1 import runtime_pb2 as director
from moorage.director.v1.director_pb2_grpc import DirectorServicer, add_DirectorServicer_to_server
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.provisioner_pb2_grpc import ProvisionerStub
from moorage.provisioner.v1.runtime_pb2 import RuntimeOperationMetadata

from certs.identity import Identity
from mesh.channel import LiveChannel
from mesh.errors import Refusal
from mesh.server import MeshServer, Service
from tests.support.identities import Mint
from tests.support.wait import wait_for

TOKEN = "moor_thisisnotarealtoken"
LEDGER_ID = "33333333-3333-4333-8333-333333333333"
DEADLINE = 30.0
"""Seconds that anything may take on a busy machine."""

PROGRAMS = Path(__file__).with_name("programs")
"""Where Python finds the double of the agent, before the real one."""


class Gate:
    """Where a double may be held up: `held` is set when somebody arrives at a closed gate."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        if not self._open.is_set():
            self.held.set()
        await self._open.wait()


class DirectorDouble(DirectorServicer):
    """Stands for the Director. A runtime is READY once its agent says in its folder that it has applied."""

    def __init__(self, runtimes_folder: Path) -> None:
        self.runtimes: dict[str, director.Runtime] = {}
        self.created = 0
        self.created_gate, self.read_gate, self.deleted_gate = Gate(), Gate(), Gate()
        self._folder = runtimes_folder
        self._by_request: dict[str, str] = {}

    async def CreateRuntime(
        self, request: director.CreateRuntimeRequest, context: Any
    ) -> director.CreateRuntimeResponse:
        runtime_id = self._by_request.get(request.request_id, "")
        if not runtime_id:
            if any(each.name == request.runtime.name for each in self.runtimes.values()):
                raise Refusal(Reason.REASON_NAME_TAKEN, "the name is taken", field="runtime.name")
            if request.validate_only:
                return director.CreateRuntimeResponse(runtime=request.runtime)
            runtime_id = str(uuid.uuid4())
            self.created += 1
            self._by_request[request.request_id] = runtime_id
            self.runtimes[runtime_id] = director.Runtime(runtime_id=runtime_id, name=request.runtime.name)
        await self.created_gate.passed()
        return director.CreateRuntimeResponse(runtime=self._get(runtime_id))

    async def GetRuntime(self, request: director.GetRuntimeRequest, context: Any) -> director.GetRuntimeResponse:
        runtime = self._get(request.runtime_id)
        await self.read_gate.passed()
        applied = (self._folder / request.runtime_id / "applied").exists()
        state = runtime_state_pb2.RUNTIME_STATE_READY if applied else runtime_state_pb2.RUNTIME_STATE_PENDING
        return director.GetRuntimeResponse(
            runtime=director.Runtime(runtime_id=runtime.runtime_id, name=runtime.name, state=state)
        )

    async def DeleteRuntime(
        self, request: director.DeleteRuntimeRequest, context: Any
    ) -> director.DeleteRuntimeResponse:
        self._get(request.runtime_id)
        del self.runtimes[request.runtime_id]
        await self.deleted_gate.passed()
        return director.DeleteRuntimeResponse()

    def _get(self, runtime_id: str) -> director.Runtime:
        if runtime_id not in self.runtimes:
            raise Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "no such runtime", field="runtime_id")
        return self.runtimes[runtime_id]


class ConnectorDouble(ConnectorServicer):
    """Stands for the Connector: issues tokens that are good for nothing, and never revokes anything."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.issued = 0

    async def IssueToken(self, request: IssueTokenRequest, context: Any) -> IssueTokenResponse:
        self.issued += 1
        await self.gate.passed()
        return IssueTokenResponse(token=f"{TOKEN}{self.issued}")

    async def WatchRevocations(
        self, request: WatchRevocationsRequest, context: Any
    ) -> AsyncIterator[WatchRevocationsResponse]:
        yield WatchRevocationsResponse(ledger_id=LEDGER_ID, kind=RevocationsKind.REVOCATIONS_KIND_SNAPSHOT)
        await asyncio.Event().wait()


class Plane:
    """The Provisioner's folder, settings and process, with the doubles beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mint = Mint(folder / "identities")
        self.admin = self.mint.identity("admin", "ann")
        self.runtimes = folder / "runtimes"
        self.director = DirectorDouble(self.runtimes)  # type: ignore[abstract]  # the others answer UNIMPLEMENTED
        self.connector = ConnectorDouble()  # type: ignore[abstract]  # as above
        self.settings: dict[str, str | bool | float] = {
            "identity": str(self.mint.identity("service", "provisioner").folder),
            "database": f"sqlite:///{folder}/provisioner.sqlite",
            "dbos_database": f"sqlite:///{folder}/dbos.sqlite",
            "runtimes": str(self.runtimes),
            "listen": f"127.0.0.1:{free_port()}",
            "agent_stop_grace": 2.0,
        }
        self.process: asyncio.subprocess.Process | None = None
        self._servers: dict[str, MeshServer] = {}
        self._channels: list[LiveChannel] = []

    @property
    def log(self) -> Path:
        """Everything that the Provisioner wrote to its output, over all its starts."""
        return self.folder / "provisioner.log"

    async def start_doubles(self) -> None:
        """Serve the doubles over the real mTLS and pipeline."""
        await self._serve("director", director_pb2, lambda at: add_DirectorServicer_to_server(self.director, at))
        await self._serve("connector", connector_pb2, lambda at: add_ConnectorServicer_to_server(self.connector, at))

    async def stop_double(self, name: str) -> None:
        await self._servers.pop(name).stop()

    async def start(self) -> None:
        """Start the Provisioner and wait until it says that it is ready."""
        config = self.folder / "moorage.toml"
        config.write_text(
            "[provisioner]\n" + "".join(f"{key} = {_toml(self.settings[key])}\n" for key in self.settings)
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, self.log.open("ab") as log:
            notices.setblocking(False)
            address = self.folder / "notify"
            address.unlink(missing_ok=True)
            notices.bind(str(address))
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "provisioner", "--config", str(config)),
                env={**os.environ, "NOTIFY_SOCKET": str(address), "PYTHONPATH": str(PROGRAMS)},
                stdout=log,
                stderr=log,
            )
            async with asyncio.timeout(DEADLINE):
                assert await asyncio.get_running_loop().sock_recv(notices, 64) == b"READY=1"

    async def end(self, number: signal.Signals) -> int:
        """Send the Provisioner a signal and wait for its end; its exit code."""
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        if self.process:
            await self.end(signal.SIGKILL)
        for server in self._servers.values():
            await server.stop()
        for pid in self.agents().values():
            os.killpg(pid, signal.SIGKILL)

    def provisioner(self, identity: Identity | None = None) -> ProvisionerStub:
        """A stub for the Provisioner, as the administrator unless told otherwise."""
        return self._channel(identity).stub(ProvisionerStub)

    def operations(self, identity: Identity | None = None) -> OperationsStub:
        """A stub for its operations, as the administrator unless told otherwise."""
        return self._channel(identity).stub(OperationsStub)

    async def ended(self, operation: Operation) -> Operation:
        """The operation once it has ended."""
        request = WaitOperationRequest(name=operation.name)
        request.timeout.seconds = int(DEADLINE)
        ended: Operation = await self.operations().WaitOperation(request, timeout=DEADLINE, wait_for_ready=True)
        assert ended.done, metadata(ended)
        return ended

    async def now(self, operation: Operation) -> Operation:
        """The operation as it is now."""
        request = GetOperationRequest(name=operation.name)
        message: Operation = await self.operations().GetOperation(request, timeout=DEADLINE, wait_for_ready=True)
        return message

    def agents(self) -> Mapping[str, int]:
        """Process ids of the agents that run, by runtime; fails where one runtime has two."""
        found: dict[str, int] = {}
        for folder in Path("/proc").iterdir():
            arguments = _arguments(folder)
            if folder.name.isdigit() and "--config" in arguments and str(self.runtimes) in arguments[-1]:
                runtime_id = Path(arguments[-1]).parent.name
                assert runtime_id not in found, "two agents for one runtime"
                found[runtime_id] = int(folder.name)
        return found

    async def agent_of(self, runtime_id: str, *, other_than: int = 0) -> int:
        """The process id of a runtime's agent, once there is one, or another one."""

        def look() -> int | None:
            pid = self.agents().get(runtime_id)
            return pid if pid != other_than else None

        return await asyncio.to_thread(wait_for, f"an agent other than {other_than}", look)

    async def _serve(self, name: str, module: Any, register: Callable[[Any], None]) -> None:
        service = Service(module.DESCRIPTOR.services_by_name[name.title()], register)
        port = free_port()
        self.settings[f"{name}_address"] = f"127.0.0.1:{port}"
        server = MeshServer(f"127.0.0.1:{port}", self.mint.identity("service", name), [service])
        await server.start()
        self._servers[name] = server

    def _channel(self, identity: Identity | None) -> LiveChannel:
        channel = LiveChannel(str(self.settings["listen"]), identity or self.admin)
        self._channels.append(channel)
        return channel


def metadata(operation: Operation) -> RuntimeOperationMetadata:
    """What the operation says of its progress."""
    unpacked = RuntimeOperationMetadata()
    assert operation.metadata.Unpack(unpacked)
    return unpacked


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _arguments(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return [""]


def _toml(value: str | bool | float) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()

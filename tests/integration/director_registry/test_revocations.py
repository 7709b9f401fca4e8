"""A real Director and what a Connector tells it of who counts no longer."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from cryptography import x509
from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.certificate_pb2 import ReportCertificateUseRequest, ReportCertificateUseResponse
from moorage.connector.v1.connector_pb2_grpc import ConnectorServicer, add_ConnectorServicer_to_server
from moorage.connector.v1.revocation_pb2 import WatchRevocationsRequest, WatchRevocationsResponse
from moorage.director.v1.application_pb2 import ListApplicationsRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, GetRuntimeRequest, Runtime

from mesh.errors import Problem
from mesh.server import MeshServer, Service
from tests.integration.director_registry.process import DirectorProcess, problem_of
from tests.support.identities import Mint
from tests.support.revocations import DELTA, message, snapshot
from tests.support.wait import eventually

CONNECTOR = connector_pb2.DESCRIPTOR.services_by_name["Connector"]
LIST = ListApplicationsRequest()


class ConnectorDouble(ConnectorServicer):
    """Says what a test has it say of revocations, and remembers what is told to it."""

    def __init__(self, mint: Mint) -> None:
        extensions = mint.issuing.certificate.extensions
        live = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
        self.messages = [snapshot(authorities=[live])]
        self.used: list[str] = []
        self.watched = 0
        self._more = asyncio.Event()

    def revoke(self, serial: str) -> None:
        self.messages.append(message(DELTA, len(self.messages) + 1, serials=[serial]))
        self._more.set()
        self._more = asyncio.Event()

    async def WatchRevocations(
        self, request: WatchRevocationsRequest, context: Any
    ) -> AsyncIterator[WatchRevocationsResponse]:
        self.watched += 1
        said = request.resume.revision
        while True:
            more = self._more
            for each in self.messages[said:]:
                yield each
            said = len(self.messages)
            await more.wait()

    async def ReportCertificateUse(
        self, request: ReportCertificateUseRequest, context: Any
    ) -> ReportCertificateUseResponse:
        self.used += request.serial_numbers
        return ReportCertificateUseResponse()


class Plane:
    """A Director's process, and a Connector's double that can go away."""

    def __init__(self, director: DirectorProcess) -> None:
        self.director = director
        self.connector = ConnectorDouble(director.mint)  # type: ignore[abstract]  # no other method is called
        self._identity = director.mint.identity("service", "connector")
        self._server: MeshServer | None = None

    async def start_connector(self) -> None:
        service = Service(CONNECTOR, lambda server: add_ConnectorServicer_to_server(self.connector, server))
        address = self.director.settings["connector_address"] if self._server else "127.0.0.1:0"
        self._server = MeshServer(address, self._identity, [service])
        port = await self._server.start()
        self.director.settings["connector_address"] = f"127.0.0.1:{port}"

    async def stop_connector(self) -> None:
        if self._server:
            await self._server.stop()


async def test_a_director_begins_with_the_list_of_the_connector(plane: Plane) -> None:
    plane.connector.revoke(plane.director.admin.load().serial)
    await plane.director.start()

    assert (await problem_of(listing(plane))).reason == "CERTIFICATE_REVOKED"


@pytest.mark.check("stream-16")
async def test_a_stream_and_its_connection_end_as_soon_as_the_connector_says_so(plane: Plane) -> None:
    await plane.director.start()
    created = await plane.director.stub().CreateRuntime(CreateRuntimeRequest(runtime=Runtime(name="berlin")))
    runtime_id = created.runtime.runtime_id
    identity = plane.director.mint.identity("runtime", runtime_id)
    stub = plane.director.stub(identity)
    stream: Any = stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id))
    await stream.read()

    began = asyncio.get_running_loop().time()
    plane.connector.revoke(identity.load().serial)
    problem = await problem_of(stream.read())

    assert problem.reason == "CERTIFICATE_REVOKED"
    assert asyncio.get_running_loop().time() - began < 1
    call = stub.GetRuntime(GetRuntimeRequest(runtime_id=runtime_id), timeout=20)
    assert (await problem_of(call)).reason == "CERTIFICATE_REVOKED"
    for again in (stub, plane.director.stub(identity)):  # over the same connection, and over a new one
        stream = again.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id), timeout=20)
        assert (await problem_of(stream.read())).reason == "CERTIFICATE_REVOKED"


async def test_what_was_revoked_stays_so_for_a_director_that_was_killed_and_finds_no_connector(plane: Plane) -> None:
    cache = plane.director.folder / "revocations"
    plane.director.settings["revocations_cache"] = str(cache)
    await plane.director.start()
    plane.connector.revoke(plane.director.admin.load().serial)
    await eventually("it is revoked", lambda: refused(plane))

    async def kept() -> bool:
        return cache.exists() and plane.director.admin.load().serial.encode() in cache.read_bytes()

    await eventually("it is kept", kept)
    await plane.director.end(signal.SIGKILL)
    await plane.stop_connector()

    await plane.director.start()

    assert (await problem_of(listing(plane))).reason == "CERTIFICATE_REVOKED"


async def test_a_director_without_a_connector_answers_until_the_operator_says_how_old_its_list_may_be(
    plane: Plane,
) -> None:
    await plane.stop_connector()
    await plane.director.start()
    await listing(plane)
    await plane.director.end(signal.SIGTERM)
    plane.director.settings["revocations_max_age"] = "3600.0"

    await plane.director.start()

    assert (await problem_of(listing(plane))).reason == "REVOCATIONS_STALE"
    await plane.start_connector()
    await eventually("it answers again", lambda: answered(plane))


async def test_a_director_tells_which_certificates_it_sees(plane: Plane) -> None:
    await plane.director.start()
    await listing(plane)
    serial = plane.director.admin.load().serial

    async def told() -> bool:
        return serial in plane.connector.used

    await eventually("the use is told", told)


@pytest.fixture
async def plane(stopped_director: DirectorProcess) -> AsyncIterator[Plane]:
    plane = Plane(stopped_director)
    await plane.start_connector()
    yield plane
    await plane.stop_connector()


def listing(plane: Plane) -> Any:
    return plane.director.stub().ListApplications(LIST, timeout=20, wait_for_ready=True)


async def answered(plane: Plane) -> bool:
    return not await reason_of(listing(plane))


async def refused(plane: Plane) -> bool:
    return await reason_of(listing(plane)) == "CERTIFICATE_REVOKED"


async def reason_of(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return Problem.of(error).reason
    return ""

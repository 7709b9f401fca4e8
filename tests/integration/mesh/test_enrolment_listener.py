"""The listener that newcomers reach: anybody can connect to it, and so none can hold much for long."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.connector_pb2_grpc import (
    ConnectorServicer,
    ConnectorStub,
    add_ConnectorServicer_to_server,
)
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, EnrollResponse, GetTrustBundleRequest

from mesh import server
from mesh.channel import OPTIONS
from mesh.server import MAX_ENROLMENT_BYTES, MeshServer, Service
from tests.integration.mesh.conftest import problem_of
from tests.support.identities import Mint

CONNECTOR = connector_pb2.DESCRIPTOR.services_by_name["Connector"]


class SmallConnector(ConnectorServicer):
    """Enrols everybody as nobody."""

    async def Enroll(self, request: EnrollRequest, context: Any) -> EnrollResponse:
        return EnrollResponse()


@asynccontextmanager
async def listener(tmp_path: Path) -> AsyncIterator[tuple[str, Mint]]:
    mint = Mint(tmp_path)
    connector = SmallConnector()  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
    service = Service(CONNECTOR, lambda server: add_ConnectorServicer_to_server(connector, server))
    serving = MeshServer("127.0.0.1:0", mint.identity("service", "connector"), [service], enrolment=True)
    yield f"127.0.0.1:{await serving.start()}", mint
    await serving.stop()


async def test_a_certificate_that_is_shown_counts_for_nothing(tmp_path: Path) -> None:
    async with listener(tmp_path / "own") as (address, mint):
        own, foreign = mint.identity("admin", "ann").load(), Mint(tmp_path / "foreign").identity("admin", "eve").load()
        for shown in (own, foreign):
            credentials = grpc.ssl_channel_credentials(mint.root.chain_pem, shown.key_pem, shown.chain_pem)
            async with grpc.aio.secure_channel(address, credentials, options=OPTIONS) as channel:
                problem = await problem_of(ConnectorStub(channel).GetTrustBundle(GetTrustBundleRequest()))
                assert problem.reason == "CERTIFICATE_REQUIRED"


async def test_a_message_over_its_own_limit_is_not_taken(tmp_path: Path) -> None:
    async with listener(tmp_path) as (address, mint):
        credentials = grpc.ssl_channel_credentials(mint.root.chain_pem)
        async with grpc.aio.secure_channel(address, credentials, options=OPTIONS) as channel:
            stub = ConnectorStub(channel)
            await stub.Enroll(EnrollRequest(token="x", csr=bytes(MAX_ENROLMENT_BYTES - 1000)))
            problem = await problem_of(stub.Enroll(EnrollRequest(token="x", csr=bytes(MAX_ENROLMENT_BYTES))))
            assert problem.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_connection_that_never_shakes_hands_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT", 0.3)
    async with listener(tmp_path) as (address, _):
        reader, writer = await asyncio.open_connection(*address.split(":"))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_a_connection_with_a_call_that_never_comes_to_its_point_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ENROLMENT_CONNECTION_AGE", 0.4)
    async with listener(tmp_path) as (address, mint):
        credentials = grpc.ssl_channel_credentials(mint.root.chain_pem)
        async with grpc.aio.secure_channel(address, credentials, options=OPTIONS) as channel:
            # Opened as a stream of requests, of which none is sent.
            call: Any = channel.stream_unary(f"/{CONNECTOR.full_name}/Enroll")()
            async with asyncio.timeout(10):
                assert (await problem_of(call)).code is grpc.StatusCode.UNAVAILABLE


async def test_one_connection_has_only_a_few_calls_at_once(tmp_path: Path) -> None:
    async with listener(tmp_path) as (address, _):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5))
        header = await reader.readexactly(9)
        assert header[3] == 4  # SETTINGS (RFC 9113, 6.5)
        payload = await reader.readexactly(int.from_bytes(header[:3]))
        settings = {
            int.from_bytes(payload[i : i + 2]): int.from_bytes(payload[i + 2 : i + 6])
            for i in range(0, len(payload), 6)
        }
        assert settings[3] <= 10  # SETTINGS_MAX_CONCURRENT_STREAMS
        writer.close()

"""What outlives a handshake: open connections, and TLS sessions that are resumed without one."""

from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc.experimental import session_cache
from moorage.director.v1.application_pb2 import GetApplicationRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub

from certs.identity import LoadedIdentity
from mesh.streams import RESUME_AFTER
from tests.integration.mesh.conftest import Mesh, problem_of
from tests.support.revocations import DELTA, message, snapshot
from tests.support.wait import eventually

ID = "0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a10"
GET = GetApplicationRequest(application_id=ID)


@pytest.mark.parametrize("connection_age", [1.0])
async def test_a_connection_is_ended_at_its_age_and_no_call_fails_for_it(mesh_server: Mesh) -> None:
    stub, connections = mesh_server.stub("admin", "ann"), mesh_server.director.connections

    async def moved() -> bool:
        await stub.GetApplication(GET)
        return len(set(connections)) > 2

    await eventually("calls come over a third connection", moved)


@pytest.mark.parametrize("connection_age", [1.0])
async def test_a_stream_ends_at_its_age_and_its_reader_is_asked_to_resume_at_once(mesh_server: Mesh) -> None:
    stub = mesh_server.stub("runtime", ID)
    stream: Any = stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=ID), timeout=20)
    await stream.read()
    problem = await problem_of(stream.read())
    assert (problem.reason, problem.message) == ("NOT_READY", "the stream has reached its age")
    assert problem.retry_after == RESUME_AFTER


@pytest.mark.parametrize("revoked", ["serial", "authority"])
async def test_a_tls_session_that_is_resumed_brings_back_nobody_who_was_revoked(
    mesh_server: Mesh, revoked: str
) -> None:
    loaded = mesh_server.mint.identity("admin", "ann").load()
    extensions = mesh_server.mint.issuing.certificate.extensions
    live = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    mesh_server.revocations.apply(snapshot(authorities=[live]))
    sessions: Any = session_cache
    cache = sessions.ssl_session_cache_lru(1)
    for _ in range(2):
        async with resuming(mesh_server.address, loaded, cache) as channel:
            await stub_of(channel).GetApplication(GET)
    assert mesh_server.director.resumed == [False, True]

    if revoked == "serial":
        mesh_server.revocations.apply(message(DELTA, 2, serials=[loaded.serial]))
    else:
        mesh_server.revocations.apply(message(DELTA, 2, authorities=["ab" * 20]))

    async with resuming(mesh_server.address, loaded, cache) as channel:
        problem = await problem_of(stub_of(channel).GetApplication(GET))
    assert problem.reason == {"serial": "CERTIFICATE_REVOKED", "authority": "AUTHORITY_REVOKED"}[revoked]


def resuming(address: str, loaded: LoadedIdentity, cache: Any) -> grpc.aio.Channel:
    """A channel of its own connection, whose TLS session is resumed from `cache` where that has one."""
    credentials = grpc.ssl_channel_credentials(loaded.bundle_pem, loaded.key_pem, loaded.chain_pem)
    # A session is for a name, not for an address.
    target = address.replace("127.0.0.1", "localhost")
    options = (("grpc.ssl_session_cache", cache), ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(target, credentials, options=options)


def stub_of(channel: grpc.aio.Channel) -> Any:
    make: Any = DirectorStub
    return make(channel)

"""What was revoked, seen from outside: on open connections, and with streams open."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from moorage.director.v1.application_pb2 import GetApplicationRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub

from mesh.channel import LiveChannel
from tests.integration.mesh.conftest import DIRECTOR, Mesh, problem_of
from tests.support.identities import Mint
from tests.support.revocations import DELTA, message, snapshot
from tests.support.wait import eventually

ID = "0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a10"
OTHER_ID = "7c0f5ab0-5e0c-4a43-a0e3-9d6f3b6d1c77"
GET = GetApplicationRequest(application_id=ID)
WATCH = WatchConfigurationRequest(runtime_id=ID)


async def test_a_call_on_an_open_connection_is_refused_once_its_certificate_is_revoked(held: Mesh) -> None:
    channel = held.channel("admin", "ann")
    await channel.stub(DirectorStub).GetApplication(GET)
    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))

    problem = await problem_of(channel.stub(DirectorStub).GetApplication(GET))

    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_REVOKED")
    assert problem.metadata["serial_number"] == serial(channel)


async def test_another_certificate_of_the_same_party_still_counts(held: Mesh) -> None:
    held.revocations.apply(message(DELTA, 2, serials=[serial(held.channel("admin", "ann"))]))

    await held.stub("admin", "ann").GetApplication(GET)


async def test_no_certificate_of_a_banned_identity_counts(held: Mesh) -> None:
    held.revocations.apply(message(DELTA, 2, banned=["spiffe://moorage.test/admin/ann"]))

    assert (await problem_of(held.stub("admin", "ann").GetApplication(GET))).reason == "CERTIFICATE_REVOKED"
    await held.stub("admin", "bob").GetApplication(GET)


async def test_what_a_revoked_authority_signed_does_not_count(held: Mesh) -> None:
    held.revocations.apply(message(DELTA, 2, authorities=["ab" * 20]))

    problem = await problem_of(held.stub("admin", "ann").GetApplication(GET))

    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTHORITY_REVOKED")


async def test_a_revoked_party_is_told_so_before_what_it_may_call(held: Mesh) -> None:
    channel = held.channel("runtime", OTHER_ID)
    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))

    assert (await problem_of(channel.stub(DirectorStub).GetApplication(GET))).reason == "CERTIFICATE_REVOKED"
    assert (await problem_of(unknown_method(channel))).reason == "CERTIFICATE_REVOKED"


async def test_an_open_stream_ends_at_once_when_its_certificate_is_revoked(held: Mesh) -> None:
    channel = held.channel("runtime", ID)
    stream: Any = channel.stub(DirectorStub).WatchConfiguration(WATCH)
    await stream.read()

    began = asyncio.get_running_loop().time()
    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))
    problem = await problem_of(stream.read())

    assert problem.reason == "CERTIFICATE_REVOKED"
    assert asyncio.get_running_loop().time() - began < 1
    assert (await problem_of(channel.stub(DirectorStub).WatchConfiguration(WATCH).read())).reason == problem.reason


async def test_the_streams_of_others_go_on(held: Mesh) -> None:
    revoked, others = held.channel("runtime", ID), held.stub("runtime", ID)
    streams: list[Any] = [each.WatchConfiguration(WATCH) for each in (revoked.stub(DirectorStub), others)]
    for stream in streams:
        await stream.read()
    held.revocations.apply(message(DELTA, 2, serials=[serial(revoked)]))
    await problem_of(streams[0].read())
    held.director.more.set()

    assert (await streams[1].read()).revision == 2


async def test_a_stream_that_waits_for_its_reader_ends_when_its_certificate_is_revoked(held: Mesh) -> None:
    channel = held.channel("runtime", ID)
    held.director.flood = "x" * 1_000_000
    stream = channel.stub(DirectorStub).WatchConfiguration(WATCH)
    await eventually("the stream is open", lambda: streaming(held))

    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))

    await eventually("the stream has ended", lambda: not_streaming(held), within=1)
    stream.cancel()


async def test_a_reader_is_told_why_its_stream_ends_also_while_messages_come_without_a_pause(held: Mesh) -> None:
    channel = held.channel("runtime", ID)
    held.director.flood = "x" * 100_000
    stream: Any = channel.stub(DirectorStub).WatchConfiguration(WATCH)
    await stream.read()
    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))

    assert (await problem_of(read_on(stream))).reason == "CERTIFICATE_REVOKED"


async def test_a_reader_that_takes_no_more_messages_is_told_why_its_stream_ended(held: Mesh) -> None:
    channel = held.channel("runtime", ID)
    held.director.flood = "x" * 1_000_000
    stream: Any = channel.stub(DirectorStub).WatchConfiguration(WATCH)
    flooded = [0]

    async def takes_no_more() -> bool:
        flooded.append(held.director.flooded)
        return flooded[-1] == flooded[-2] > 0

    await eventually("nothing more goes out", takes_no_more)
    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))
    await eventually("the stream has ended", lambda: not_streaming(held), within=1)

    assert (await problem_of(read_on(stream))).reason == "CERTIFICATE_REVOKED"


async def test_a_reader_that_does_not_even_take_the_first_message_is_told_why_its_stream_ended(
    held: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    channel = held.channel("runtime", ID)
    held.director.first = "x" * 12_000_000  # more than the transport takes without its reader
    stream: Any = channel.stub(DirectorStub).WatchConfiguration(WATCH)
    await eventually("the stream is open", lambda: streaming(held))
    held.revocations.apply(message(DELTA, 2, serials=[serial(channel)]))
    await eventually("the stream has ended", lambda: not_streaming(held), within=1)

    assert (await problem_of(read_on(stream))).reason == "CERTIFICATE_REVOKED"
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_stream_of_requests_ends_when_its_certificate_is_revoked(held: Mesh) -> None:
    live = held.channel("viewer", "vic")
    channel: Any = live.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await stream.read()

    held.revocations.apply(message(DELTA, 2, serials=[serial(live)]))

    assert (await problem_of(stream.read())).reason == "CERTIFICATE_REVOKED"


async def test_a_stream_that_writes_itself_ends_when_its_identity_is_banned(held: Mesh) -> None:
    stub: Any = held.channel("viewer", "vic").stub(health_pb2_grpc.HealthStub)
    stream = stub.Watch(health_pb2.HealthCheckRequest())
    await stream.read()

    held.revocations.apply(message(DELTA, 2, banned=["spiffe://moorage.test/viewer/vic"]))

    assert (await problem_of(stream.read())).reason == "CERTIFICATE_REVOKED"


@pytest.mark.parametrize("max_age", [timedelta(seconds=10)])
async def test_a_list_that_is_too_old_refuses_calls_and_ends_streams_but_health_answers(held: Mesh) -> None:
    channel = held.channel("runtime", ID)
    stream: Any = channel.stub(DirectorStub).WatchConfiguration(WATCH)
    await stream.read()
    held.clock.ahead = timedelta(seconds=11)
    held.revocations.look_at_age()

    for call in (stream.read(), held.stub("admin", "ann").GetApplication(GET)):
        problem = await problem_of(call)
        assert (problem.code, problem.reason) == (grpc.StatusCode.UNAVAILABLE, "REVOCATIONS_STALE")
        assert problem.retry_after is not None
    stub: Any = channel.stub(health_pb2_grpc.HealthStub)
    health = await stub.Check(health_pb2.HealthCheckRequest(service=DIRECTOR.full_name))
    assert health.status == health_pb2.HealthCheckResponse.SERVING

    held.revocations.apply(message(DELTA, 2, serials=["01"]))
    await held.stub("admin", "ann").GetApplication(GET)


async def test_a_certificate_is_told_as_used_once_it_is_shown(held: Mesh) -> None:
    channel = held.channel("admin", "ann")
    for _ in range(3):
        await channel.stub(DirectorStub).GetApplication(GET)

    await eventually("its use is told", lambda: used(held))
    assert held.used == [serial(channel)]


@pytest.fixture
def held(mesh_server: Mesh) -> Mesh:
    """The server with a list on which nobody is revoked."""
    mesh_server.revocations.apply(snapshot(authorities=[key_identifier(mesh_server.mint)]))
    return mesh_server


def key_identifier(mint: Mint) -> str:
    extensions = mint.issuing.certificate.extensions
    return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


async def read_on(stream: Any) -> None:
    """Read until the stream ends."""
    async with asyncio.timeout(5):
        while True:
            await stream.read()


def serial(channel: LiveChannel) -> str:
    return channel.identity.load().serial


def unknown_method(channel: LiveChannel) -> Any:
    raw: Any = channel.channel
    return raw.unary_unary("/moorage.director.v1.Director/Unknown")(b"")


async def streaming(mesh: Mesh) -> bool:
    return bool(mesh.witness.streaming)


async def not_streaming(mesh: Mesh) -> bool:
    return not mesh.witness.streaming


async def used(mesh: Mesh) -> bool:
    return bool(mesh.used)

"""The call pipeline: what every call of every service gets, seen from outside."""

import asyncio
import socket
import ssl
from datetime import timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, GetApplicationRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.group_pb2 import AddGroupMembersRequest
from moorage.errors.v1.errors_pb2 import Reason
from structlog.testing import capture_logs

from certs.check import serial_hex
from certs.keys import key_to_pem, new_key
from mesh.channel import LiveChannel
from mesh.errors import Refusal
from mesh.pipeline import MAX_REQUEST_BYTES, WHOLLY_CHECKED_BYTES
from tests.integration.mesh.conftest import DIRECTOR, Mesh, problem_of
from tests.support.identities import TRUST_DOMAIN, Mint
from tests.support.wait import eventually

ID = "0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a10"
OTHER_ID = "7c0f5ab0-5e0c-4a43-a0e3-9d6f3b6d1c77"
GET = GetApplicationRequest(application_id=ID)
CREATE = CreateApplicationRequest(application=Application(name="shop"))


async def test_an_administrator_may_call_what_the_contract_lets_administrators_call(mesh_server: Mesh) -> None:
    response = await mesh_server.stub("admin", "ann").GetApplication(GET)
    assert response.application.application_id == ID


async def test_an_application_may_read_itself_and_no_other(mesh_server: Mesh) -> None:
    stub = mesh_server.stub("application", ID)
    assert (await stub.GetApplication(GET)).application.application_id == ID
    problem = await problem_of(stub.GetApplication(GetApplicationRequest(application_id=OTHER_ID)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_DENIED")


async def test_an_id_in_uppercase_is_the_same_to_access_rules_and_to_the_handler(mesh_server: Mesh) -> None:
    stub = mesh_server.stub("application", ID)
    request = GetApplicationRequest(application_id=ID.upper())
    assert (await stub.GetApplication(request)).application.application_id == ID
    problem = await problem_of(stub.GetApplication(GetApplicationRequest(application_id=OTHER_ID.upper())))
    assert problem.reason == "ACCESS_DENIED"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("viewer", "vic"),
        ("application", ID),
        ("runtime", ID),
        ("service", "connector"),
        ("service", "provisioner"),
        ("service", "director"),
    ],
)
async def test_who_is_not_named_by_the_method_is_refused(mesh_server: Mesh, kind: str, name: str) -> None:
    problem = await problem_of(mesh_server.stub(kind, name).CreateApplication(CREATE))
    assert (problem.code, problem.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_DENIED")


async def test_a_field_that_breaks_a_rule_is_named(mesh_server: Mesh) -> None:
    request = CreateApplicationRequest(application=Application(name="Not A Label"), request_id="zz")
    problem = await problem_of(mesh_server.stub("admin", "ann").CreateApplication(request))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert {each.field for each in problem.violations} == {"application.name", "request_id"}
    assert problem.remedy


async def test_a_large_request_is_told_the_first_field_that_breaks_a_rule(mesh_server: Mesh) -> None:
    for more, told in (
        (0, ["application_ids[0]", "application_ids[1]"]),
        (WHOLLY_CHECKED_BYTES, ["application_ids[0]"]),
    ):
        request = AddGroupMembersRequest(group_id=ID, application_ids=["x", "y"], etag=" " * more)
        problem = await problem_of(mesh_server.stub("admin", "ann").AddGroupMembers(request))
        assert problem.reason == "FIELD_INVALID"
        assert [each.field for each in problem.violations] == told


async def test_bytes_that_are_no_message_are_refused(mesh_server: Mesh) -> None:
    call: Any = mesh_server.channel("admin", "ann").channel.unary_unary(f"/{DIRECTOR.full_name}/GetApplication")
    problem = await problem_of(call(b"\xff\xff\xff\xff"))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_MALFORMED")


async def test_a_request_over_the_limit_is_refused_with_the_limit(mesh_server: Mesh) -> None:
    request = CreateApplicationRequest(application=Application(name="shop", description="x" * MAX_REQUEST_BYTES))
    problem = await problem_of(mesh_server.stub("admin", "ann").CreateApplication(request))
    assert (problem.code, problem.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert problem.metadata["limit_bytes"] == str(MAX_REQUEST_BYTES)


async def test_an_unknown_method_is_unimplemented(mesh_server: Mesh) -> None:
    call: Any = mesh_server.channel("admin", "ann").channel.unary_unary(f"/{DIRECTOR.full_name}/Nothing")
    problem = await problem_of(call(b""))
    assert (problem.code, problem.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


async def test_a_fault_shows_the_caller_a_request_id_and_nothing_else(mesh_server: Mesh) -> None:
    mesh_server.director.fault = KeyError("a detail of the inside")
    stub = mesh_server.stub("admin", "ann")
    problem = await problem_of(stub.CreateApplication(CREATE, metadata=(("x-request-id", "call-7"),)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert problem.metadata["request_id"] == "call-7"
    assert "inside" not in str(problem)


async def test_a_call_that_nobody_waited_for_any_longer_is_in_the_log(mesh_server: Mesh) -> None:
    mesh_server.director.stuck = True
    with capture_logs() as lines:
        call = mesh_server.stub("admin", "ann").CreateApplication(
            CREATE, timeout=0.5, metadata=(("x-request-id", "call-7"),)
        )
        assert (await problem_of(call)).code is grpc.StatusCode.DEADLINE_EXCEEDED

        async def lines_of_the_call() -> list[Any]:
            return [line for line in lines if line.get("request_id") == "call-7"]

        ended = await eventually("the call is in the log", lines_of_the_call)
    assert [(line["event"], line["log_level"]) for line in ended] == [("cancelled", "info")]
    assert ended[0]["ms"] > 100


async def test_a_stream_that_ends_by_a_timeout_within_is_a_fault_and_no_slow_reader(mesh_server: Mesh) -> None:
    mesh_server.director.fault = TimeoutError("a detail of the inside")
    stream = mesh_server.stub("runtime", ID).WatchConfiguration(WatchConfigurationRequest(runtime_id=ID))
    await stream.read()
    problem = await problem_of(stream.read())
    assert (problem.code, problem.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_a_refusal_carries_its_reason_field_metadata_and_wait(mesh_server: Mesh) -> None:
    mesh_server.director.fault = Refusal(
        Reason.REASON_NAME_TAKEN,
        "the name is taken",
        field="application.name",
        metadata={"id": ID},
        retry_after=timedelta(seconds=2),
    )
    problem = await problem_of(mesh_server.stub("admin", "ann").CreateApplication(CREATE))
    assert problem.code is grpc.StatusCode.ALREADY_EXISTS
    assert problem.is_reason(Reason.REASON_NAME_TAKEN)
    assert problem.violations[0].field == "application.name"
    assert problem.metadata["id"] == ID
    assert problem.retry_after == timedelta(seconds=2)


async def test_a_certificate_that_ended_on_an_open_connection_is_refused(mesh_server: Mesh) -> None:
    stub = mesh_server.stub("admin", "ann", timedelta(hours=1))
    await stub.GetApplication(GET)
    mesh_server.clock.ahead = timedelta(hours=2)
    problem = await problem_of(stub.GetApplication(GET))
    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_EXPIRED")


async def test_a_stream_ends_when_its_certificate_does(mesh_server: Mesh) -> None:
    stub = mesh_server.stub("runtime", ID, timedelta(seconds=2))
    stream = stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=ID))
    await stream.read()
    problem = await problem_of(stream.read())
    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_EXPIRED")


async def test_a_certificate_of_another_root_gets_no_answer(mesh_server: Mesh, tmp_path: Any) -> None:
    foreign = Mint(tmp_path / "foreign").identity("admin", "eve").load()
    own = mesh_server.mint.identity("admin", "ann").load()
    credentials = grpc.ssl_channel_credentials(own.bundle_pem, foreign.key_pem, foreign.chain_pem)
    async with grpc.aio.secure_channel(mesh_server.address, credentials) as channel:
        problem = await problem_of(DirectorStub(channel).GetApplication(GET, timeout=5))
    assert problem.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


async def test_an_identity_that_the_plane_does_not_give_out_is_foreign(mesh_server: Mesh) -> None:
    key_pem, chain_pem = _robot(mesh_server.mint)
    credentials = grpc.ssl_channel_credentials(mesh_server.mint.root.chain_pem, key_pem, chain_pem)
    async with grpc.aio.secure_channel(mesh_server.address, credentials) as channel:
        problem = await problem_of(DirectorStub(channel).GetApplication(GET))
    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_FOREIGN")


async def test_only_tls_1_3_is_offered(mesh_server: Mesh) -> None:
    assert await asyncio.to_thread(_handshake, mesh_server, ssl.TLSVersion.TLSv1_3)
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.to_thread(_handshake, mesh_server, ssl.TLSVersion.TLSv1_2)


async def test_a_draining_server_ends_its_streams_and_says_when_to_come_back(mesh_server: Mesh) -> None:
    stream = mesh_server.stub("runtime", ID).WatchConfiguration(WatchConfigurationRequest(runtime_id=ID))
    await stream.read()
    ending = asyncio.create_task(problem_of(stream.read()))
    async with asyncio.timeout(5):
        await mesh_server.server.stop()
        problem = await ending
    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    assert problem.retry_after


async def test_a_service_whose_database_is_away_is_live_but_not_ready(mesh_server: Mesh) -> None:
    health: Any = health_pb2_grpc.HealthStub(mesh_server.channel("viewer", "vic").channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    ready = health_pb2.HealthCheckRequest(service=DIRECTOR.full_name)
    assert (await health.Check(ready)).status == serving
    mesh_server.away.add("database")
    await mesh_server.readiness.check()
    assert (await health.Check(ready)).status == not_serving
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == serving
    mesh_server.away.clear()
    await mesh_server.readiness.check()
    assert (await health.Check(ready)).status == serving


async def test_reflection_lists_what_is_served(mesh_server: Mesh) -> None:
    channel: Any = mesh_server.channel("viewer", "vic").channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = (await stream.read()).list_services_response.service
    stream.cancel()
    assert {each.name for each in listed} == {
        DIRECTOR.full_name,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_renewed_server_certificate_is_used_by_the_next_handshake(mesh_server: Mesh) -> None:
    first = await _served_serial(mesh_server)
    mesh_server.mint.identity("service", "director", folder=mesh_server.server_identity.folder)
    assert await _served_serial(mesh_server) != first


async def test_a_channel_follows_its_identity_and_calls_under_way_end_on_the_old_one(mesh_server: Mesh) -> None:
    identity = mesh_server.mint.identity("runtime", ID)
    live = LiveChannel(mesh_server.address, identity)
    old_channel = live.channel
    stream: Any = live.stub(DirectorStub).WatchConfiguration(WatchConfigurationRequest(runtime_id=ID))
    assert (await stream.read()).revision == 1
    mesh_server.mint.identity("runtime", ID, folder=identity.folder)
    assert live.channel is not old_channel
    mesh_server.director.more.set()
    assert (await stream.read()).revision == 2
    await live.close()


async def _served_serial(mesh: Mesh) -> str:
    return serial_hex(x509.load_der_x509_certificate(await asyncio.to_thread(_handshake, mesh, ssl.TLSVersion.TLSv1_3)))


def _handshake(mesh: Mesh, version: ssl.TLSVersion) -> bytes:
    """Shake hands in this version of TLS and no other; returns the server's certificate."""
    host, _, port = mesh.address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True) or b""


def _robot(mint: Mint) -> tuple[bytes, bytes]:
    """Key and chain of a certificate that the right authority signed, for an identity that the plane knows not."""
    key = new_key()
    at, usage = mint.clock(), dict.fromkeys(_USAGES, False) | {"digital_signature": True}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(mint.issuing.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(minutes=1))
        .not_valid_after(at + timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_ROBOT)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(mint.issuing.key, hashes.SHA256())
    )
    return key_to_pem(key), certificate.public_bytes(Encoding.PEM) + mint.issuing.chain_pem


_ROBOT = f"spiffe://{TRUST_DOMAIN}/robot/rob"
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


async def test_an_observer_is_told_of_every_call_of_a_party_the_refused_ones_too(mesh_server: Mesh) -> None:
    own = mesh_server.stub("application", ID)
    await own.GetApplication(GET)
    await problem_of(own.GetApplication(GetApplicationRequest(application_id=OTHER_ID)))
    await mesh_server.stub("admin", "ann").GetApplication(GET)
    assert mesh_server.witness.callers == [ID, ID, "ann"]


async def test_an_observer_is_told_of_a_stream_for_as_long_as_it_is_open(mesh_server: Mesh) -> None:
    witness, request = mesh_server.witness, WatchConfigurationRequest(runtime_id=ID)
    cancelled = mesh_server.stub("runtime", ID).WatchConfiguration(request)
    await cancelled.read()
    whole = mesh_server.stub("admin", "ann").WatchConfiguration(request)
    await whole.read()
    assert sorted(witness.streaming) == [ID, "ann"]
    cancelled.cancel()

    async def gone() -> bool:
        return witness.streaming == ["ann"]

    await eventually("the cancelled stream is gone", gone)
    mesh_server.director.more.set()
    assert (await whole.read()).revision == 2
    assert await whole.read() is grpc.aio.EOF
    assert witness.streaming == []
    refused = mesh_server.stub("runtime", OTHER_ID).WatchConfiguration(request)
    await problem_of(refused.read())
    assert witness.streaming == []

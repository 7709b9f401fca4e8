"""From a token to an identity, through the real Connector."""

import asyncio
import os
import stat
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import (
    EnrollRequest,
    EnrollResponse,
    GetTrustBundleRequest,
    RenewRequest,
)
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity, IdentityRefused
from certs.keys import load_key, new_key
from certs.request import make_csr
from certs.spiffe import Kind, SpiffeId
from certs.token import OneTimeToken
from mesh.channel import open_pinned_channel
from mesh.enrolment import PENDING_KEY_FILE, IssuedIdentityRefused, enrol
from mesh.errors import Problem
from mesh.probe import PinMismatch
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane, problem_of
from tests.integration.connector.relay import relay
from tests.support.identities import TRUST_DOMAIN, Mint

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def plane(shared_plane: Plane) -> Plane:
    return shared_plane


async def test_a_token_becomes_an_identity_that_the_plane_takes(plane: Plane, tmp_path: Path) -> None:
    identity = Identity(tmp_path / "newcomer")

    addresses = await enrol(await plane.token(), identity, expected_kind=Kind.RUNTIME)

    assert identity.load().spiffe_id == SpiffeId.runtime(TRUST_DOMAIN, RUNTIME_ID)
    assert addresses.connector == plane.settings["connector_address"]
    assert addresses.director == plane.settings["director_address"]
    bundle = await plane.connector(identity).GetTrustBundle(GetTrustBundleRequest(), timeout=5)
    assert bundle.trust_bundle_pem.encode() == identity.load().bundle_pem
    assert [bytes.fromhex(pin) for pin in bundle.root_sha256] == list((await plane.token()).root_pins)


async def test_the_key_is_private_from_the_first_moment_and_the_pending_one_is_gone(
    plane: Plane, tmp_path: Path
) -> None:
    identity = Identity(tmp_path / "newcomer")

    await enrol(await plane.token(), identity)

    assert stat.S_IMODE((identity.folder / "tls.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.folder.stat().st_mode) == 0o700
    assert not (identity.folder / PENDING_KEY_FILE).exists()


@pytest.mark.check("trust-01")
async def test_of_50_parallel_enrolments_with_one_token_one_gets_a_certificate(plane: Plane) -> None:
    token = await plane.token()
    before = len(plane.rows("SELECT * FROM certificates"))

    outcomes = await asyncio.gather(
        *(enroll(plane, token.encode(), make_csr(new_key())) for _ in range(50)), return_exceptions=True
    )

    refused = [Problem.of(each) for each in outcomes if isinstance(each, grpc.RpcError)]
    assert [each.reason for each in refused] == ["TOKEN_REFUSED"] * 49
    assert len(plane.rows("SELECT * FROM certificates")) == before + 1


@pytest.mark.check("trust-02")
async def test_a_used_token_is_refused_like_an_unknown_one_and_audited(plane: Plane) -> None:
    before = plane.last_event
    token = await plane.token()
    await enroll(plane, token.encode(), make_csr(new_key()))
    stranger = OneTimeToken(token.address, token.root_pins, os.urandom(32))

    used = await problem_of(enroll(plane, token.encode(), make_csr(new_key())))
    unknown = await problem_of(enroll(plane, stranger.encode(), make_csr(new_key())))

    assert used.is_reason(Reason.REASON_TOKEN_REFUSED)
    assert used.code == grpc.StatusCode.UNAUTHENTICATED
    assert (used.code, used.message, used.remedy) == (unknown.code, unknown.message, unknown.remedy)
    assert used.metadata.keys() == unknown.metadata.keys() == {"request_id"}
    [of_used] = plane.rows(f"SELECT * FROM audit WHERE action = 'TOKEN_REFUSED' AND event_id > {before}")
    [stored] = plane.rows(f"SELECT token_id FROM audit WHERE action = 'TOKEN_ISSUED' AND event_id > {before}")
    assert of_used["token_id"] == stored["token_id"]
    assert of_used["address"].startswith("ipv4:127.0.0.1:")
    assert of_used["request_id"] == used.metadata["request_id"]


@pytest.mark.check("trust-05")
async def test_a_newcomer_that_was_killed_before_the_reply_goes_on_with_the_key_it_left(
    plane: Plane, tmp_path: Path
) -> None:
    token, identity = await plane.token(), Identity(tmp_path / "newcomer")
    mistyped = OneTimeToken(token.address, (bytes(32),), token.secret)
    with pytest.raises(PinMismatch):
        await enrol(mistyped, identity)
    left = load_key(identity.folder / PENDING_KEY_FILE)
    first = await enroll(plane, token.encode(), make_csr(left))

    await enrol(token, identity)

    assert identity.load().serial == first.identity.serial_number


@pytest.mark.check("trust-06")
@pytest.mark.parametrize("csr", [b"garbage", bytes(1024 * 1024)], ids=["garbage", "1 MB"])
async def test_a_bad_csr_is_refused_by_its_field_and_the_token_still_works(plane: Plane, csr: bytes) -> None:
    token = await plane.token()

    problem = await problem_of(enroll(plane, token.encode(), csr))

    assert problem.is_reason(Reason.REASON_CSR_REFUSED)
    assert problem.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in problem.violations] == ["csr"]
    await enroll(plane, token.encode(), make_csr(new_key()))


async def test_a_token_with_a_slip_is_malformed_by_its_field(plane: Plane) -> None:
    text = (await plane.token()).encode()

    problem = await problem_of(enroll(plane, text[:-2], make_csr(new_key())))

    assert problem.is_reason(Reason.REASON_TOKEN_MALFORMED)
    assert [each.field for each in problem.violations] == ["token"]


@pytest.mark.check("trust-09")
async def test_with_a_wrong_pin_nothing_but_a_hello_leaves_the_client(plane: Plane, tmp_path: Path) -> None:
    before = plane.last_event
    token = await plane.token()
    identity = Identity(tmp_path / "newcomer")

    async with relay(token.address) as wire:
        with pytest.raises(PinMismatch):
            await enrol(OneTimeToken(wire.address, (bytes(32),), token.secret), identity)

    [sent] = wire.connections
    assert sent[:1] == b"\x16", "a TLS handshake record, and no other"
    assert len(sent) == 5 + int.from_bytes(sent[3:5], "big")
    assert not plane.rows(f"SELECT 1 FROM audit WHERE action != 'TOKEN_ISSUED' AND event_id > {before}")
    with pytest.raises(IdentityRefused):
        identity.load()


@pytest.mark.check("trust-09")
async def test_one_right_pin_of_two_is_enough(plane: Plane, tmp_path: Path) -> None:
    token = await plane.token()
    identity = Identity(tmp_path / "newcomer")

    await enrol(OneTimeToken(token.address, (bytes(32), *token.root_pins), token.secret), identity)

    assert identity.load().spiffe_id.name == RUNTIME_ID


async def test_an_identity_of_an_unexpected_kind_is_not_written(plane: Plane, tmp_path: Path) -> None:
    identity = Identity(tmp_path / "newcomer")

    with pytest.raises(IssuedIdentityRefused, match=APPLICATION_ID):
        await enrol(await plane.token(application_id=APPLICATION_ID), identity, expected_kind=Kind.RUNTIME)

    with pytest.raises(IdentityRefused):
        identity.load()


async def test_without_a_client_certificate_nothing_but_enrolment_answers(plane: Plane) -> None:
    async with enrolment_channel(plane) as channel:
        stub = ConnectorStub(channel)
        calls = (
            stub.IssueToken(IssueTokenRequest(runtime_id=RUNTIME_ID), timeout=5),
            stub.Renew(RenewRequest(csr=make_csr(new_key())), timeout=5),
            stub.GetTrustBundle(GetTrustBundleRequest(), timeout=5),
        )
        problems = [await problem_of(call) for call in calls]

    assert [each.reason for each in problems] == ["CERTIFICATE_REQUIRED"] * 3


async def test_the_mtls_listener_takes_no_connection_without_a_certificate(plane: Plane) -> None:
    address = plane.settings["connector_address"]
    async with open_pinned_channel(address, plane.mint.root.chain_pem) as channel:
        problem = await problem_of(ConnectorStub(channel).GetTrustBundle(GetTrustBundleRequest(), timeout=5))

    assert problem.code == grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_root_opens_nothing(plane: Plane, tmp_path: Path) -> None:
    foreign = Mint(tmp_path / "foreign", TRUST_DOMAIN).identity("admin", "ann").load()
    identity = Identity(tmp_path / "mixed")
    identity.write(foreign.key_pem, foreign.chain_pem, plane.mint.root.chain_pem)

    problem = await problem_of(plane.connector(identity).GetTrustBundle(GetTrustBundleRequest(), timeout=5))

    assert problem.code == grpc.StatusCode.UNAVAILABLE


async def enroll(plane: Plane, token: str, csr: bytes) -> EnrollResponse:
    async with enrolment_channel(plane) as channel:
        return await ConnectorStub(channel).Enroll(EnrollRequest(token=token, csr=csr), timeout=20, wait_for_ready=True)


def enrolment_channel(plane: Plane) -> grpc.aio.Channel:
    root = plane.mint.root.certificate.public_bytes(Encoding.PEM)
    return open_pinned_channel(plane.settings["enrolment_address"], root)

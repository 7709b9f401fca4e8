"""Revocation by the real Connector: certificates, identities, the stream of what is revoked, the list of RFC 5280."""

import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from moorage.connector.v1.certificate_pb2 import CertificateState, GetCertificateRequest, RevokeCertificateRequest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    IdentityState,
    ListIdentitiesRequest,
    RestoreIdentityRequest,
    RevocationAction,
    RevokeIdentityRequest,
)
from moorage.connector.v1.revocation_pb2 import (
    GetRevocationListRequest,
    RevocationReason,
    RevocationResumePoint,
    RevocationsKind,
    WatchRevocationsRequest,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from mesh.channel import open_pinned_channel
from mesh.enrolment import enrol
from mesh.errors import Problem
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane, problem_of
from tests.support.identities import TRUST_DOMAIN
from tests.support.wait import eventually

RUNTIME = f"spiffe://{TRUST_DOMAIN}/runtime/{RUNTIME_ID}"
BAN, EVICT = RevocationAction.REVOCATION_ACTION_BAN, RevocationAction.REVOCATION_ACTION_EVICT
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
CESSATION = RevocationReason.REVOCATION_REASON_CESSATION_OF_OPERATION


async def enrolled(plane: Plane, folder: Path) -> tuple[Identity, str]:
    """The Runtime's new identity, and the serial number of its certificate."""
    token = await plane.token()
    identity = Identity(folder)
    await enrol(token, identity)
    return identity, identity.load().serial


async def refusal(party: ConnectorStub) -> Problem | None:
    """Why the party is refused what any party may ask for; None where it is not."""
    try:
        await party.GetTrustBundle(GetTrustBundleRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        return Problem.of(error)
    return None


async def refused_soon(party: ConnectorStub) -> grpc.StatusCode:
    """Waits until the party is refused as revoked; the status code."""
    problem = await eventually("it is refused", lambda: refusal(party))
    assert problem.is_reason(Reason.REASON_CERTIFICATE_REVOKED)
    return problem.code


async def test_a_revoked_certificate_is_refused_and_its_entry_says_by_whom_and_why(
    plane: Plane, tmp_path: Path
) -> None:
    identity, serial = await enrolled(plane, tmp_path / "runtime")
    runtime = plane.connector(identity)
    await runtime.GetTrustBundle(GetTrustBundleRequest(), timeout=5)

    request = RevokeCertificateRequest(serial_number=serial, reason=COMPROMISE, note="the host was stolen")
    revoked = (await plane.connector().RevokeCertificate(request, timeout=5)).certificate

    assert await refused_soon(runtime) == grpc.StatusCode.UNAUTHENTICATED
    assert revoked.state == CertificateState.CERTIFICATE_STATE_REVOKED
    assert (revoked.revocation_reason, revoked.revocation_note) == (COMPROMISE, "the host was stolen")
    assert revoked.revoked_by == str(plane.admin.load().spiffe_id)
    again = (await plane.connector().RevokeCertificate(request, timeout=5)).certificate
    assert again.revoke_time == revoked.revoke_time
    read = await plane.connector().GetCertificate(GetCertificateRequest(serial_number=serial), timeout=5)
    assert read.certificate.revoke_time == revoked.revoke_time


async def test_a_certificate_that_the_ledger_does_not_have_is_not_found(plane: Plane) -> None:
    problem = await problem_of(
        plane.connector().RevokeCertificate(RevokeCertificateRequest(serial_number="00ff"), timeout=5)
    )
    assert problem.is_reason(Reason.REASON_CERTIFICATE_NOT_FOUND)


async def test_a_banned_identity_is_refused_though_the_ledger_does_not_have_its_certificate(plane: Plane) -> None:
    outside = plane.connector(plane.mint.identity("runtime", RUNTIME_ID))
    await outside.GetTrustBundle(GetTrustBundleRequest(), timeout=5)

    request = RevokeIdentityRequest(runtime_id=RUNTIME_ID.upper(), action=BAN, reason=CESSATION, note="gone")
    revoked = (await plane.connector().RevokeIdentity(request, timeout=5)).identity

    await refused_soon(outside)
    assert (revoked.spiffe_id, revoked.state) == (RUNTIME, IdentityState.IDENTITY_STATE_BANNED)
    await plane.connector().RestoreIdentity(RestoreIdentityRequest(spiffe_id=RUNTIME), timeout=5)

    async def accepted() -> bool:
        return await refusal(outside) is None

    await eventually("it is accepted again", accepted)


async def test_nobody_revokes_themselves(plane: Plane) -> None:
    own = str(plane.admin.load().spiffe_id)

    for action in (BAN, EVICT):
        problem = await problem_of(
            plane.connector().RevokeIdentity(RevokeIdentityRequest(spiffe_id=own, action=action), timeout=5)
        )
        assert problem.code == grpc.StatusCode.FAILED_PRECONDITION
        assert problem.is_reason(Reason.REASON_OWN_IDENTITY)


@pytest.mark.parametrize(
    "spiffe_id",
    [
        f"spiffe://elsewhere.test/runtime/{RUNTIME_ID}",
        f"spiffe://{TRUST_DOMAIN}/runtime/one",
        f"spiffe://{TRUST_DOMAIN}/service/agent",
        f"spiffe://{TRUST_DOMAIN}/admin/..",
    ],
)
async def test_what_is_no_party_of_this_plane_cannot_be_revoked(plane: Plane, spiffe_id: str) -> None:
    problem = await problem_of(
        plane.connector().RevokeIdentity(RevokeIdentityRequest(spiffe_id=spiffe_id, action=BAN), timeout=5)
    )
    assert problem.is_reason(Reason.REASON_FIELD_INVALID)
    assert [each.field for each in problem.violations] == ["spiffe_id"]


async def test_the_director_revokes_applications_and_runtimes_and_nobody_else(plane: Plane) -> None:
    director = plane.connector(plane.mint.identity("service", "director"))
    for request in (
        RevokeIdentityRequest(application_id=APPLICATION_ID, action=BAN, reason=CESSATION),
        RevokeIdentityRequest(runtime_id=RUNTIME_ID, action=BAN, reason=CESSATION),
    ):
        await director.RevokeIdentity(request, timeout=5)

    by_name = RevokeIdentityRequest(spiffe_id=f"spiffe://{TRUST_DOMAIN}/admin/bob", action=BAN)
    problem = await problem_of(director.RevokeIdentity(by_name, timeout=5))

    assert problem.is_reason(Reason.REASON_ACCESS_DENIED)
    banned = [IdentityState.IDENTITY_STATE_BANNED]
    listed = await plane.connector().ListIdentities(ListIdentitiesRequest(states=banned), timeout=5)
    assert [each.spiffe_id for each in listed.identities] == [
        f"spiffe://{TRUST_DOMAIN}/application/{APPLICATION_ID}",
        RUNTIME,
    ]


async def test_an_identity_that_nothing_is_known_of_is_not_found(plane: Plane) -> None:
    for call in (
        plane.connector().GetIdentity(GetIdentityRequest(spiffe_id=RUNTIME), timeout=5),
        plane.connector().RestoreIdentity(RestoreIdentityRequest(spiffe_id=RUNTIME), timeout=5),
    ):
        assert (await problem_of(call)).is_reason(Reason.REASON_IDENTITY_NOT_FOUND)


async def test_a_service_follows_what_is_revoked_over_a_restart_of_the_connector(plane: Plane, tmp_path: Path) -> None:
    first, serial = await enrolled(plane, tmp_path / "first")
    director = plane.mint.identity("service", "director")
    stream: Any = plane.connector(director).WatchRevocations(WatchRevocationsRequest(), timeout=20)
    snapshot = await stream.read()
    assert snapshot.kind == RevocationsKind.REVOCATIONS_KIND_SNAPSHOT
    authority = plane.mint.issuing.certificate
    key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert [each.key_identifier for each in snapshot.authorities.authorities] == [key.hex()]

    await plane.connector().RevokeCertificate(RevokeCertificateRequest(serial_number=serial), timeout=5)
    while (delta := await stream.read()).kind != RevocationsKind.REVOCATIONS_KIND_DELTA:
        pass
    assert [each.serial_number for each in delta.certificates] == [serial]
    stream.cancel()
    await plane.end(signal.SIGKILL)
    await plane.start()

    resume = RevocationResumePoint(ledger_id=snapshot.ledger_id, revision=delta.revision)
    again: Any = plane.connector(director).WatchRevocations(WatchRevocationsRequest(resume=resume), timeout=20)
    message = await again.read()
    again.cancel()
    assert message.kind != RevocationsKind.REVOCATIONS_KIND_SNAPSHOT
    assert message.ledger_id == snapshot.ledger_id
    refused = plane.connector(first).GetTrustBundle(GetTrustBundleRequest(), timeout=5)
    assert (await problem_of(refused)).is_reason(Reason.REASON_CERTIFICATE_REVOKED)


@pytest.mark.parametrize("kind", ["admin", "runtime", "application"])
async def test_who_is_no_service_may_not_follow_what_is_revoked(plane: Plane, kind: str) -> None:
    name = "bob" if kind == "admin" else RUNTIME_ID
    stream = plane.connector(plane.mint.identity(kind, name)).WatchRevocations(WatchRevocationsRequest(), timeout=5)

    assert (await problem_of(stream.read())).is_reason(Reason.REASON_ACCESS_DENIED)


async def test_anybody_reads_the_revocation_list_at_either_listener(plane: Plane, tmp_path: Path) -> None:
    _, serial = await enrolled(plane, tmp_path / "runtime")
    await plane.connector().RevokeCertificate(
        RevokeCertificateRequest(serial_number=serial, reason=COMPROMISE), timeout=5
    )
    runtime = plane.connector(plane.mint.identity("runtime", RUNTIME_ID))

    async with open_pinned_channel(plane.settings["enrolment_address"], plane.mint.root.chain_pem) as channel:
        newcomer: ConnectorStub = ConnectorStub(channel)
        answers = [await each.GetRevocationList(GetRevocationListRequest(), timeout=10) for each in (newcomer, runtime)]
        unknown = GetRevocationListRequest(authority_sha256="00" * 32)
        problem = await problem_of(newcomer.GetRevocationList(unknown, timeout=10))

    crl = x509.load_der_x509_crl(answers[0].crl_der)
    assert crl.issuer == plane.mint.issuing.certificate.subject
    assert [f"{each.serial_number:040x}" for each in crl] == [serial.rjust(40, "0")]
    assert answers[1].crl_number >= answers[0].crl_number
    assert problem.is_reason(Reason.REASON_AUTHORITY_NOT_FOUND)


async def test_the_lists_number_grows_over_a_restart(plane: Plane, tmp_path: Path) -> None:
    _, serial = await enrolled(plane, tmp_path / "runtime")
    before = await plane.connector().GetRevocationList(GetRevocationListRequest(), timeout=10)
    await plane.end(signal.SIGKILL)
    await plane.start()

    await plane.connector().RevokeCertificate(
        RevokeCertificateRequest(serial_number=serial), timeout=10, wait_for_ready=True
    )
    after = await plane.connector().GetRevocationList(GetRevocationListRequest(), timeout=10)

    assert after.crl_number > before.crl_number

"""Revocation by the real Connector: certificates, identities, the stream of what is revoked, the list of RFC 5280."""

from pathlib import Path

import grpc
import pytest
from moorage.connector.v1.certificate_pb2 import CertificateState, GetCertificateRequest, RevokeCertificateRequest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    IdentityState,
    RestoreIdentityRequest,
    RevocationAction,
    RevokeIdentityRequest,
)
from moorage.connector.v1.revocation_pb2 import (
    RevocationReason,
    WatchRevocationsRequest,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from mesh.enrolment import enrol
from mesh.errors import Problem
from tests.integration.connector.plane import RUNTIME_ID, UNKNOWN_ID, Plane, problem_of
from tests.support.identities import TRUST_DOMAIN
from tests.support.wait import eventually

RUNTIME = f"spiffe://{TRUST_DOMAIN}/runtime/{RUNTIME_ID}"
BAN, EVICT = RevocationAction.REVOCATION_ACTION_BAN, RevocationAction.REVOCATION_ACTION_EVICT
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
CESSATION = RevocationReason.REVOCATION_REASON_CESSATION_OF_OPERATION

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def plane(shared_plane: Plane) -> Plane:
    return shared_plane


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


async def test_an_identity_that_nothing_is_known_of_is_not_found(plane: Plane) -> None:
    unknown = f"spiffe://{TRUST_DOMAIN}/runtime/{UNKNOWN_ID}"
    for call in (
        plane.connector().GetIdentity(GetIdentityRequest(spiffe_id=unknown), timeout=5),
        plane.connector().RestoreIdentity(RestoreIdentityRequest(spiffe_id=unknown), timeout=5),
    ):
        assert (await problem_of(call)).is_reason(Reason.REASON_IDENTITY_NOT_FOUND)


@pytest.mark.parametrize("kind", ["admin", "runtime", "application"])
async def test_who_is_no_service_may_not_follow_what_is_revoked(plane: Plane, kind: str) -> None:
    name = "bob" if kind == "admin" else RUNTIME_ID
    stream = plane.connector(plane.mint.identity(kind, name)).WatchRevocations(WatchRevocationsRequest(), timeout=5)

    assert (await problem_of(stream.read())).is_reason(Reason.REASON_ACCESS_DENIED)

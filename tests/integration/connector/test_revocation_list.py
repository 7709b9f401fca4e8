"""All that a Connector of a test's own has revoked: its list, the stream of it, and both over a restart."""

import signal
from pathlib import Path
from typing import Any

from cryptography import x509
from moorage.connector.v1.certificate_pb2 import RevokeCertificateRequest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest
from moorage.connector.v1.identity_pb2 import (
    IdentityState,
    ListIdentitiesRequest,
    RevokeIdentityRequest,
)
from moorage.connector.v1.revocation_pb2 import (
    GetRevocationListRequest,
    RevocationResumePoint,
    RevocationsKind,
    WatchRevocationsRequest,
)
from moorage.errors.v1.errors_pb2 import Reason

from mesh.channel import open_pinned_channel
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane, problem_of
from tests.integration.connector.test_revocation import BAN, CESSATION, COMPROMISE, RUNTIME, enrolled
from tests.support.identities import TRUST_DOMAIN


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

"""The ledger of the real Connector: what is read of it, and what becomes of enrolments that it cannot take."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from moorage.connector.v1.certificate_pb2 import (
    CertificateOrigin,
    CertificateState,
    GetCertificateRequest,
    ListCertificatesRequest,
    ReportCertificateUseRequest,
)
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, EnrollResponse, RecoverRequest, RenewRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.keys import load_key, new_key
from certs.request import make_csr
from mesh.channel import open_pinned_channel
from mesh.enrolment import enrol
from tests.integration.connector.plane import Plane, problem_of
from tests.support.wait import eventually

ACTIVE = CertificateState.CERTIFICATE_STATE_ACTIVE
SUPERSEDED = CertificateState.CERTIFICATE_STATE_SUPERSEDED


async def enrolled(plane: Plane, folder: Path) -> Identity:
    identity = Identity(folder)
    await enrol(await plane.token(), identity)
    return identity


async def test_a_certificate_is_read_whole_and_listed_without_itself(plane: Plane, tmp_path: Path) -> None:
    held = (await enrolled(plane, tmp_path / "runtime")).load()
    party = str(held.spiffe_id)

    got = await plane.connector().GetCertificate(GetCertificateRequest(serial_number=held.serial), timeout=20)
    listed = await plane.connector().ListCertificates(ListCertificatesRequest(spiffe_id=party), timeout=20)

    [entry] = listed.certificates
    assert got.certificate.certificate_pem.encode() in held.chain_pem
    assert (entry.certificate_pem, entry.serial_number) == ("", held.serial)
    assert (entry.state, entry.origin) == (ACTIVE, CertificateOrigin.CERTIFICATE_ORIGIN_ENROLLED)
    assert entry.token_id == got.certificate.token_id != ""
    assert entry.not_after.seconds == int(held.not_after.timestamp())


async def test_a_walk_through_the_ledger_meets_each_certificate_once(plane: Plane, tmp_path: Path) -> None:
    serials = {(await enrolled(plane, tmp_path / f"runtime-{number}")).load().serial for number in range(5)}
    request = ListCertificatesRequest(page_size=2)
    seen: list[str] = []

    while True:
        page = await plane.connector().ListCertificates(request, timeout=20)
        seen += [each.serial_number for each in page.certificates]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert len(seen) == len(set(seen))
    assert serials <= set(seen)


async def test_a_serial_number_that_the_ledger_does_not_have_is_not_found(plane: Plane) -> None:
    problem = await problem_of(plane.connector().GetCertificate(GetCertificateRequest(serial_number="00"), timeout=20))

    assert problem.is_reason(Reason.REASON_CERTIFICATE_NOT_FOUND)
    assert [each.field for each in problem.violations] == ["serial_number"]


@pytest.mark.check("trust-13")
async def test_the_old_certificate_is_refused_once_a_service_reports_the_new_one(plane: Plane, tmp_path: Path) -> None:
    identity = await enrolled(plane, tmp_path / "runtime")
    connector = plane.connector(identity)
    renewed = await connector.Renew(RenewRequest(csr=make_csr(new_key())), timeout=20)
    director = plane.connector(plane.director_identity)

    report = ReportCertificateUseRequest(serial_numbers=[renewed.identity.serial_number])
    await director.ReportCertificateUse(report, timeout=20)

    old = GetCertificateRequest(serial_number=identity.load().serial)
    assert (await plane.connector().GetCertificate(old, timeout=20)).certificate.state == SUPERSEDED

    async def is_refused() -> bool:
        problem = await problem_of(connector.Renew(RenewRequest(csr=make_csr(new_key())), timeout=20))
        return problem.is_reason(Reason.REASON_CERTIFICATE_REVOKED)

    await eventually("the old certificate is refused", is_refused)


async def test_a_party_that_overslept_recovers_within_the_window_that_is_set(
    stopped_plane: Plane, tmp_path: Path
) -> None:
    plane = stopped_plane
    plane.settings |= {"runtime_lifetime": "1", "recovery_window": "3600"}
    await plane.start_director()
    await plane.start()
    identity = await enrolled(plane, tmp_path / "runtime")
    request = RecoverRequest(
        certificate_pem=identity.load().chain_pem.decode(), csr=make_csr(load_key(identity.folder / "tls.key"))
    )

    async def recovered() -> str:
        async with newcomer(plane) as stub:
            with contextlib.suppress(grpc.RpcError):  # until it has expired
                return (await stub.Recover(request, timeout=20)).identity.serial_number
        return ""

    serial = await eventually("it is recovered", recovered)

    [row] = plane.rows(f"SELECT replaces_serial FROM certificates WHERE serial_number = '{serial}'")
    assert row["replaces_serial"] == identity.load().serial


async def test_first_identities_are_in_the_ledger(stopped_plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = stopped_plane
    first = plane.mint.identity("admin", "bob")
    await plane.start_director()
    monkeypatch.setenv("MOORAGE_CONNECTOR_FIRST_IDENTITIES", str(first.folder / "tls.crt"))
    await plane.start()

    request = GetCertificateRequest(serial_number=first.load().serial)
    got = await plane.connector().GetCertificate(request, timeout=20)

    assert got.certificate.origin == CertificateOrigin.CERTIFICATE_ORIGIN_BOOTSTRAPPED


@pytest.mark.check("trust-24")
async def test_while_another_process_holds_the_database_nothing_leaves_and_the_connector_is_not_ready_but_live(
    plane: Plane,
) -> None:
    token, csr = (await plane.token()).encode(), make_csr(new_key())
    health: Any = plane.channel().stub(HealthStub)

    async def status(service: str) -> str:
        answer = await health.Check(HealthCheckRequest(service=service), timeout=20)
        return HealthCheckResponse.ServingStatus.Name(answer.status)

    async def is_not_ready() -> bool:
        assert await status("") == "SERVING"
        return await status("moorage.connector.v1.Connector") == "NOT_SERVING"

    async def is_ready() -> bool:
        return await status("moorage.connector.v1.Connector") == "SERVING"

    with contextlib.closing(sqlite3.connect(plane.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused, _ = await asyncio.gather(
            problem_of(enroll(plane, token, csr)), eventually("it is not ready", is_not_ready)
        )
        other.execute("ROLLBACK")
    await eventually("it is ready again", is_ready)

    assert refused.is_reason(Reason.REASON_DATABASE_UNAVAILABLE)
    assert plane.rows("SELECT 1 FROM certificates WHERE token_id IS NOT NULL") == []
    answer = await enroll(plane, token, csr)
    [row] = plane.rows("SELECT serial_number FROM certificates WHERE token_id IS NOT NULL")
    leaf = x509.load_pem_x509_certificates(answer.identity.certificate_chain_pem.encode())[0]
    assert int(row["serial_number"], 16) == leaf.serial_number


async def enroll(plane: Plane, token: str, csr: bytes) -> EnrollResponse:
    async with newcomer(plane) as stub:
        return await stub.Enroll(EnrollRequest(token=token, csr=csr), timeout=20)


@contextlib.asynccontextmanager
async def newcomer(plane: Plane) -> AsyncIterator[ConnectorStub]:
    async with open_pinned_channel(plane.settings["enrolment_address"], plane.mint.root.chain_pem) as channel:
        yield ConnectorStub(channel)

"""New certificates for old ones, through the real Connector."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest, PlaneAddresses, RenewRequest, RenewResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity, LoadedIdentity
from certs.keys import load_key, new_key
from certs.request import make_csr
from mesh.enrolment import enrol
from mesh.renewal import IdentityExpired, RenewalLoop
from tests.integration.connector.plane import RUNTIME_ID, Plane, problem_of


async def test_a_loop_renews_again_and_again_and_every_certificate_works(stopped_plane: Plane, tmp_path: Path) -> None:
    plane = stopped_plane
    plane.settings["runtime_lifetime"] = "3"
    await plane.start_director()
    await plane.start()
    identity = await enrolled(plane, tmp_path)
    serials = [identity.load().serial]
    twice = asyncio.Event()

    async def on_renewed(renewed: LoadedIdentity, addresses: PlaneAddresses) -> None:
        assert addresses.connector == plane.settings["connector_address"]
        await plane.connector(identity).GetTrustBundle(GetTrustBundleRequest(), timeout=5)
        serials.append(renewed.serial)
        if len(serials) == 3:
            twice.set()

    renewing = asyncio.create_task(RenewalLoop(identity, renew(plane, identity), on_renewed).run())
    async with asyncio.timeout(20):
        await twice.wait()
    renewing.cancel()

    ledger = plane.rows("SELECT serial_number, replaces_serial FROM certificates ORDER BY issue_time")
    assert [each["serial_number"] for each in ledger] == serials
    assert [each["replaces_serial"] for each in ledger] == [None, *serials[:-1]]


async def test_a_loop_reports_when_the_certificate_ended_without_the_connector(
    stopped_plane: Plane,
) -> None:
    plane = stopped_plane
    identity = plane.mint.identity("runtime", RUNTIME_ID, timedelta(seconds=2))

    async def on_renewed(renewed: LoadedIdentity, addresses: PlaneAddresses) -> None:
        raise AssertionError(f"{renewed.serial} was renewed by nobody")

    async with asyncio.timeout(20):
        with pytest.raises(IdentityExpired):
            await RenewalLoop(identity, renew(plane, identity), on_renewed).run()


async def test_the_key_that_one_has_is_not_certified_again(plane: Plane, tmp_path: Path) -> None:
    identity = await enrolled(plane, tmp_path)
    csr = make_csr(load_key(identity.folder / "tls.key"))

    problem = await problem_of(plane.connector(identity).Renew(RenewRequest(csr=csr), timeout=5))

    assert problem.is_reason(Reason.REASON_CSR_REFUSED)
    assert [each.field for each in problem.violations] == ["csr"]


async def test_a_runtime_that_was_removed_is_not_renewed(plane: Plane, tmp_path: Path) -> None:
    identity = await enrolled(plane, tmp_path)
    plane.director.known.clear()
    await plane.end(signal.SIGTERM)  # it remembers for a while what the Director said
    await plane.start()

    problem = await problem_of(plane.connector(identity).Renew(RenewRequest(csr=make_csr(new_key())), timeout=5))

    assert problem.is_reason(Reason.REASON_IDENTITY_UNKNOWN)


async def test_while_the_director_is_away_a_runtime_is_renewed(plane: Plane, tmp_path: Path) -> None:
    identity = await enrolled(plane, tmp_path)
    await plane.stop_director()

    response = await plane.connector(identity).Renew(RenewRequest(csr=make_csr(new_key())), timeout=5)

    assert response.identity.spiffe_id == str(identity.load().spiffe_id)


async def test_a_service_that_renews_can_still_be_reached_by_its_host_names(plane: Plane) -> None:
    csr = make_csr(new_key())

    response = await plane.connector(plane.director_identity).Renew(RenewRequest(csr=csr), timeout=5)

    leaf = x509.load_pem_x509_certificates(response.identity.certificate_chain_pem.encode())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def renew(plane: Plane, identity: Identity) -> Callable[[RenewRequest], Awaitable[RenewResponse]]:
    channel = plane.channel(identity)

    async def ask(request: RenewRequest) -> RenewResponse:
        return await channel.stub(ConnectorStub).Renew(request, timeout=5)

    return ask


async def enrolled(plane: Plane, folder: Path) -> Identity:
    identity = Identity(folder / "runtime")
    await enrol(await plane.token(), identity)
    return identity

"""What judges that are none of ours say of what the plane signs, and of how it listens: OpenSSL, spiffe and pkilint."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import RevokeCertificateRequest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest
from moorage.connector.v1.revocation_pb2 import GetRevocationListRequest, RevocationReason
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from spiffe import X509Bundle, X509Svid

from certs.check import serial_hex
from certs.keys import key_to_pem
from certs.request import make_csr
from mesh.channel import open_pinned_channel
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane
from tests.support.identities import TRUST_DOMAIN
from tests.support.judges import (
    openssl,
    openssl_handshake,
    openssl_verify,
    pkilint_certificate,
    pkilint_pair,
    pkilint_revocation_list,
)
from tests.support.plane import Up

HOST, IP_ADDRESS = "director.plane.example", "192.0.2.7"

ASKED = {
    "application": IssueTokenRequest(application_id=APPLICATION_ID),
    "runtime": IssueTokenRequest(runtime_id=RUNTIME_ID),
    "admin": IssueTokenRequest(admin="ada"),
    "viewer": IssueTokenRequest(viewer="vic"),
    "service": IssueTokenRequest(service="director", dns_names=[HOST], ip_addresses=[IP_ADDRESS]),
}
NAMES = {
    "application": APPLICATION_ID,
    "runtime": RUNTIME_ID,
    "admin": "ada",
    "viewer": "vic",
    "service": "director",
}
CURVES: Mapping[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}

EVERY_LEAF = [pytest.param(kind, curve, id=f"{kind}-{curve}") for kind in ASKED for curve in CURVES]


@dataclass(frozen=True)
class Issued:
    """A certificate of one kind on one curve, as whoever enrolled has it."""

    spiffe_id: str
    chain: Path
    key_pem: bytes

    @property
    def leaf(self) -> x509.Certificate:
        return _leaf(self.chain)


@dataclass(frozen=True)
class Court:
    """What there is to be judged, in files."""

    root: Path
    issuing: Path
    leaves: Mapping[tuple[str, str], Issued]
    revocation_list: Path
    revoked: Issued
    """The one whose certificate the revocation list names."""


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Court:
    """One Connector issues every kind of certificate on every curve, and revokes one."""
    return asyncio.run(_convene(tmp_path_factory.mktemp("court")))


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(("kind", "curve"), EVERY_LEAF)
@pytest.mark.parametrize("purpose", ["sslclient", "sslserver"])
def test_openssl_accepts_every_kind_of_certificate_for_either_end(
    court: Court, kind: str, curve: str, purpose: str
) -> None:
    assert openssl_verify(court.leaves[kind, curve].chain, court.root, purpose) == ""


@pytest.mark.check("trust-08")
@pytest.mark.parametrize("curve", CURVES)
def test_openssl_finds_a_service_under_its_host_names_and_under_no_other(court: Court, curve: str) -> None:
    service = court.leaves["service", curve].chain
    assert openssl_verify(service, court.root, "sslserver", "-verify_hostname", HOST) == ""
    assert openssl_verify(service, court.root, "sslserver", "-verify_ip", IP_ADDRESS) == ""
    assert "hostname mismatch" in openssl_verify(
        service, court.root, "sslserver", "-verify_hostname", "other.plane.example"
    )


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(("kind", "curve"), EVERY_LEAF)
def test_openssl_takes_no_certificate_of_a_party_for_an_authority(court: Court, kind: str, curve: str) -> None:
    leaf = court.leaves[kind, curve].chain
    assert "unsuitable certificate purpose" in openssl_verify(leaf, court.root, "crlsign")


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(("kind", "curve"), EVERY_LEAF)
def test_the_spiffe_library_reads_every_kind_of_certificate_with_its_key(court: Court, kind: str, curve: str) -> None:
    issued = court.leaves[kind, curve]

    svid = X509Svid.parse(issued.chain.read_bytes(), issued.key_pem)

    assert str(svid.spiffe_id) == issued.spiffe_id == f"spiffe://{TRUST_DOMAIN}/{kind}/{NAMES[kind]}"
    assert svid.leaf == issued.leaf
    bundle = X509Bundle.parse(svid.spiffe_id.trust_domain, court.root.read_bytes())
    assert bundle.x509_authorities == {x509.load_pem_x509_certificate(court.root.read_bytes())}


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(("kind", "curve"), EVERY_LEAF)
def test_pkilint_finds_nothing_in_any_kind_of_certificate(court: Court, kind: str, curve: str) -> None:
    issued = court.leaves[kind, curve]
    leaf = _written(issued.chain.with_suffix(".leaf.pem"), _pem(issued.leaf))
    assert pkilint_certificate(leaf, [issued.spiffe_id]) == []
    assert pkilint_pair(court.issuing, leaf) == []


@pytest.mark.check("trust-08")
def test_pkilint_finds_nothing_in_the_authorities(court: Court) -> None:
    for authority in (court.root, court.issuing):
        assert pkilint_certificate(authority, [f"spiffe://{TRUST_DOMAIN}"]) == []
        assert pkilint_pair(court.root, authority) == []


@pytest.mark.check("trust-08")
def test_openssl_reads_the_revocation_list_as_the_issuing_authoritys_and_nobody_elses(court: Court) -> None:
    read = ("crl", "-in", court.revocation_list, "-noout", "-text")
    verified = openssl(*read, "-CAfile", court.issuing)
    assert verified.returncode == 0
    assert "verify OK" in verified.stdout
    assert f"Serial Number: {serial_hex(court.revoked.leaf).upper()}" in verified.stdout
    assert "Key Compromise" in verified.stdout
    assert "verify OK" not in openssl(*read, "-CAfile", court.root).stdout


@pytest.mark.check("trust-08")
def test_openssl_refuses_the_certificate_that_the_revocation_list_names_and_takes_all_others(court: Court) -> None:
    with_list = ("-crl_check", "-CRLfile", court.revocation_list)
    for each in court.leaves.values():
        assert openssl_verify(each.chain, court.root, "sslclient", *with_list) == ""
    assert openssl_verify(court.revoked.chain, court.root, "sslclient") == ""
    assert "certificate revoked" in openssl_verify(court.revoked.chain, court.root, "sslclient", *with_list)


@pytest.mark.check("trust-08")
def test_pkilint_finds_nothing_in_the_revocation_list(court: Court) -> None:
    assert pkilint_revocation_list(court.revocation_list) == []


@pytest.mark.parametrize("listener", ["director", "connector", "enrolment", "provisioner"])
def test_every_listener_offers_tls_1_3_and_nothing_before_it(up: Up, listener: str) -> None:
    address: str = getattr(up.plane, listener)
    admin = up.home / "identities" / "admin"

    agreed = {version: openssl_handshake(address, version, admin) for version in ("tls1", "tls1_1", "tls1_2", "tls1_3")}

    assert agreed == {"tls1": None, "tls1_1": None, "tls1_2": None, "tls1_3": "TLSv1.3"}


@pytest.mark.check("trust-08")
@pytest.mark.parametrize("party", ["admin", "director", "connector", "provisioner"])
def test_the_judges_accept_the_first_identities_of_a_plane(up: Up, party: str, tmp_path: Path) -> None:
    folder = up.home / "identities" / party
    chain, roots = folder / "tls.crt", folder / "ca.crt"

    svid = X509Svid.parse(chain.read_bytes(), (folder / "tls.key").read_bytes())

    assert openssl_verify(chain, roots, "sslclient") == openssl_verify(chain, roots, "sslserver") == ""
    leaf = _written(tmp_path / "leaf.pem", _pem(_leaf(chain)))
    assert pkilint_certificate(leaf, [str(svid.spiffe_id)], host_names=["localhost"]) == []


async def _convene(folder: Path) -> Court:
    plane = Plane(folder / "plane")
    try:
        await plane.start_director()
        await plane.start()
        root = _written(folder / "root.pem", _pem(plane.mint.root.certificate))
        issuing = _written(folder / "issuing.pem", _pem(plane.mint.issuing.certificate))
        async with open_pinned_channel(plane.settings["enrolment_address"], root.read_bytes()) as channel:
            newcomer: ConnectorStub = ConnectorStub(channel)
            leaves = {
                (kind, curve): await _enrolled(plane, newcomer, ASKED[kind], curve, folder / f"{kind}-{curve}.pem")
                for kind in ASKED
                for curve in CURVES
            }
            asked = IssueTokenRequest(viewer="val")
            revoked = await _enrolled(plane, newcomer, asked, "P-256", folder / "revoked.pem")
            await plane.connector().RevokeCertificate(
                RevokeCertificateRequest(
                    serial_number=serial_hex(revoked.leaf), reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
                ),
                timeout=20,
            )
            listed = await newcomer.GetRevocationList(GetRevocationListRequest(), timeout=20)
    finally:
        await plane.close()
    crl = x509.load_der_x509_crl(listed.crl_der)
    return Court(root, issuing, leaves, _written(folder / "crl.pem", crl.public_bytes(Encoding.PEM)), revoked)


async def _enrolled(plane: Plane, newcomer: ConnectorStub, asked: IssueTokenRequest, curve: str, chain: Path) -> Issued:
    token = await plane.connector().IssueToken(asked, timeout=20, wait_for_ready=True)
    key = ec.generate_private_key(CURVES[curve]())
    request = EnrollRequest(token=token.token, csr=make_csr(key))
    answer = await newcomer.Enroll(request, timeout=20, wait_for_ready=True)
    pem = answer.identity.certificate_chain_pem.encode()
    return Issued(answer.identity.spiffe_id, _written(chain, pem), key_to_pem(key))


def _leaf(chain: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain.read_bytes())[0]


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path

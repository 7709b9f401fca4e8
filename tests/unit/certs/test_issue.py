from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from certs.authority import Authority, AuthorityReason, AuthorityRefused, create_issuing, create_root
from certs.check import check_svid, serial_hex, verify_chain
from certs.issue import IssuedCertificate, IssueReason, IssueRefused, issue
from certs.keys import KeyRefused, new_key, public_key_sha256
from certs.request import checked_public_key
from certs.spiffe import SpiffeId, SpiffeIdRefused
from tests.unit.certs.forge import NOW, TRUST_DOMAIN, UUID, StoppedClock, common_name, key_usage

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
KEY = new_key()
APPLICATION = SpiffeId.application(TRUST_DOMAIN, UUID)
DIRECTOR = SpiffeId.service(TRUST_DOMAIN, "director")
LOOPBACK = [ip_address("127.0.0.1"), ip_address("::1")]


@pytest.fixture
def application(issuing: Authority, clock: StoppedClock) -> IssuedCertificate:
    return issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock)


@pytest.fixture
def director(issuing: Authority, clock: StoppedClock) -> IssuedCertificate:
    return issue(issuing, KEY.public_key(), DIRECTOR, HOUR, clock, ["localhost", "a.example"], LOOPBACK, server=True)


@pytest.mark.check("trust-08")
def test_an_issued_leaf_is_an_x509_svid(application: IssuedCertificate) -> None:
    assert check_svid(application.certificate) == APPLICATION


@pytest.mark.check("trust-08")
def test_a_client_is_named_by_its_spiffe_id_and_nothing_else(application: IssuedCertificate) -> None:
    names = application.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier(str(APPLICATION))]
    assert not application.certificate.subject.rdns


@pytest.mark.check("trust-08")
def test_a_server_is_named_by_its_hosts_too(director: IssuedCertificate) -> None:
    names = director.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [
        x509.UniformResourceIdentifier(str(DIRECTOR)),
        x509.DNSName("localhost"),
        x509.DNSName("a.example"),
        *(x509.IPAddress(address) for address in LOOPBACK),
    ]


@pytest.mark.check("trust-08")
def test_a_leaf_may_authenticate_at_both_ends_and_sign_nothing(application: IssuedCertificate) -> None:
    extensions = application.certificate.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert usage.critical
    assert usage.value == key_usage("digital_signature")
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)


def test_key_identifiers_lead_from_the_leaf_to_its_issuer(application: IssuedCertificate, issuing: Authority) -> None:
    extensions = application.certificate.extensions
    own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuers = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    issuer = issuing.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert own == x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    assert issuers.key_identifier == issuer.digest


def test_the_chain_is_the_leaf_and_its_issuer_and_leads_to_the_root(
    application: IssuedCertificate, issuing: Authority, root: Authority
) -> None:
    leaf, *intermediates = x509.load_pem_x509_certificates(application.chain_pem)
    assert leaf == application.certificate
    assert intermediates == [issuing.certificate]
    assert verify_chain(leaf, intermediates, [root.certificate], NOW)[-1] == root.certificate


def test_openssl_accepts_a_leaf_strictly(director: IssuedCertificate, issuing: Authority, root: Authority) -> None:
    leaf, intermediate, anchor = (
        crypto.X509.from_cryptography(certificate)
        for certificate in (director.certificate, issuing.certificate, root.certificate)
    )
    store = crypto.X509Store()
    store.add_cert(anchor)
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.set_time(NOW)
    crypto.X509StoreContext(store, leaf, [intermediate]).verify_certificate()


def test_the_ledger_gets_what_is_in_the_certificate(application: IssuedCertificate) -> None:
    certificate = application.certificate
    assert application.serial_hex == serial_hex(certificate)
    assert application.not_before == certificate.not_valid_before_utc
    assert application.not_after == certificate.not_valid_after_utc


def test_serial_numbers_are_positive_random_and_at_most_159_bits(issuing: Authority, clock: StoppedClock) -> None:
    serials = {issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock).certificate.serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 2**159 for serial in serials)
    assert any(serial > 2**128 for serial in serials)


def test_a_leaf_is_dated_back_a_minute_but_not_before_its_issuer(issuing: Authority, clock: StoppedClock) -> None:
    assert issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock).not_before == NOW - MINUTE
    clock.now = NOW + 10 * MINUTE + timedelta(milliseconds=900)
    assert issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock).not_before == NOW + 9 * MINUTE
    clock.now = NOW - MINUTE / 2
    assert issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock).not_before == NOW - MINUTE


def test_a_leaf_ends_after_its_lifetime_or_with_its_issuer(clock: StoppedClock, root: Authority) -> None:
    issuing = create_issuing(root, clock, 2 * HOUR)
    assert issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock).not_after == NOW + HOUR
    assert issue(issuing, KEY.public_key(), APPLICATION, 3 * HOUR, clock).not_after == NOW + 2 * HOUR


@pytest.mark.parametrize("offset", [-2 * MINUTE, HOUR, 2 * HOUR])
def test_an_authority_that_is_not_valid_now_issues_nothing(
    offset: timedelta, clock: StoppedClock, root: Authority
) -> None:
    issuing = create_issuing(root, clock, HOUR)
    clock.now = NOW + offset
    with pytest.raises(AuthorityRefused) as refusal:
        issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock)
    assert refusal.value.reason is AuthorityReason.NOT_VALID_NOW


def test_a_root_issues_no_leaves(root: Authority, clock: StoppedClock) -> None:
    with pytest.raises(AuthorityRefused) as refusal:
        issue(root, KEY.public_key(), APPLICATION, HOUR, clock)
    assert refusal.value.reason is AuthorityReason.NOT_AN_ISSUING_AUTHORITY


def test_a_lifetime_under_a_second_is_refused(issuing: Authority, clock: StoppedClock) -> None:
    with pytest.raises(AuthorityRefused) as refusal:
        issue(issuing, KEY.public_key(), APPLICATION, timedelta(0), clock)
    assert refusal.value.reason is AuthorityReason.BAD_LIFETIME


@pytest.mark.check("trust-07")
def test_nothing_but_the_key_of_a_request_is_honoured(issuing: Authority, clock: StoppedClock) -> None:
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(common_name("admin"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}/admin/eve"), x509.DNSName("a.example")]
            ),
            critical=False,
        )
        .sign(KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    issued = issue(issuing, checked_public_key(greedy), APPLICATION, HOUR, clock).certificate
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert check_svid(issued) == APPLICATION
    assert list(names) == [x509.UniformResourceIdentifier(str(APPLICATION))]
    assert not issued.subject.rdns
    assert public_key_sha256(issued.public_key()) == public_key_sha256(KEY.public_key())


@pytest.mark.check("trust-08")
@pytest.mark.parametrize("path", ["", "/application/shop", "/service/other", "/anything"])
def test_an_identity_that_moorage_does_not_know_is_not_issued(
    path: str, issuing: Authority, clock: StoppedClock
) -> None:
    with pytest.raises(SpiffeIdRefused):
        issue(issuing, KEY.public_key(), SpiffeId(TRUST_DOMAIN, path), HOUR, clock)


@pytest.mark.check("trust-08")
def test_an_identity_of_another_trust_domain_is_not_issued(issuing: Authority, clock: StoppedClock) -> None:
    _is_refused(IssueReason.FOREIGN_TRUST_DOMAIN, issuing, SpiffeId.admin("other.test", "ada"), clock)


def test_a_key_on_another_curve_is_not_certified(issuing: Authority, clock: StoppedClock) -> None:
    with pytest.raises(KeyRefused):
        issue(issuing, ec.generate_private_key(ec.SECP521R1()).public_key(), APPLICATION, HOUR, clock)


def test_a_server_has_a_host_name_and_a_client_has_none(issuing: Authority, clock: StoppedClock) -> None:
    _is_refused(IssueReason.SERVER_WITHOUT_HOST_NAME, issuing, DIRECTOR, clock, server=True)
    _is_refused(IssueReason.CLIENT_WITH_HOST_NAME, issuing, APPLICATION, clock, ["a.example"])
    _is_refused(IssueReason.CLIENT_WITH_HOST_NAME, issuing, APPLICATION, clock, [], LOOPBACK)


NO_HOST_NAMES = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "A.example",
    "*.example",
    "a_b",
    "-a",
    "a-",
    "a b",
    "a\n",
    "ä.example",
    "a" * 64,
    ".".join(["a" * 60] * 5),
]


@pytest.mark.parametrize("name", NO_HOST_NAMES)
def test_a_name_that_is_no_host_name_is_not_certified(name: str, issuing: Authority, clock: StoppedClock) -> None:
    _is_refused(IssueReason.BAD_DNS_NAME, issuing, DIRECTOR, clock, ["a.example", name], server=True)


def test_what_a_faulty_signing_device_returns_never_leaves(clock: StoppedClock) -> None:
    root = create_root(TRUST_DOMAIN, clock)
    issuing = create_issuing(root, clock, key=SigningDevice(new_key(), signs_with=new_key()))
    _is_refused(IssueReason.SELF_CHECK_FAILED, issuing, APPLICATION, clock)


def test_a_key_that_is_not_in_memory_signs_as_well(clock: StoppedClock) -> None:
    key = new_key()
    root = create_root(TRUST_DOMAIN, clock)
    issuing = create_issuing(root, clock, key=SigningDevice(key, signs_with=key))
    issued = issue(issuing, KEY.public_key(), APPLICATION, HOUR, clock)
    assert verify_chain(issued.certificate, [issuing.certificate], [root.certificate], NOW)


class SigningDevice(ec.EllipticCurvePrivateKey):
    """A signing device that shows one key and may sign with another; the private half stays inside."""

    def __init__(self, shown: ec.EllipticCurvePrivateKey, signs_with: ec.EllipticCurvePrivateKey) -> None:
        self._shown = shown
        self._signs_with = signs_with

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._shown.public_key()

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._shown.curve

    @property
    def key_size(self) -> int:
        return self._shown.key_size

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        return self._signs_with.sign(data, signature_algorithm)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        raise NotImplementedError

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        raise NotImplementedError

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        raise NotImplementedError

    def __copy__(self) -> SigningDevice:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> SigningDevice:
        return self


def _is_refused(
    reason: IssueReason,
    authority: Authority,
    spiffe_id: SpiffeId,
    clock: StoppedClock,
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[IPv4Address | IPv6Address] = (),
    *,
    server: bool = False,
) -> None:
    with pytest.raises(IssueRefused) as refusal:
        issue(authority, KEY.public_key(), spiffe_id, HOUR, clock, dns_names, ip_addresses, server=server)
    assert refusal.value.reason is reason

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certs.keys import new_key, public_key_sha256
from certs.request import MAX_CSR_BYTES, CsrReason, CsrRefused, checked_public_key, make_csr
from tests.unit.certs.forge import common_name

KEY = new_key()
CSR = make_csr(KEY)

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def test_the_public_key_of_a_request_is_the_one_that_signed_it() -> None:
    assert public_key_sha256(checked_public_key(CSR)) == public_key_sha256(KEY.public_key())


def test_a_request_says_nothing_but_its_key() -> None:
    csr = x509.load_der_x509_csr(CSR)
    assert not csr.subject.rdns
    assert not list(csr.extensions)


def test_a_request_on_p384_is_taken() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(common_name("a")).sign(key, hashes.SHA384())
    taken = checked_public_key(csr.public_bytes(serialization.Encoding.DER))
    assert public_key_sha256(taken) == public_key_sha256(key.public_key())


@pytest.mark.check("trust-06")
@pytest.mark.parametrize(
    ("key", "algorithm", "reason"),
    [
        (rsa.generate_private_key(65537, 1024), hashes.SHA256(), CsrReason.FOREIGN_KEY_TYPE),
        (rsa.generate_private_key(65537, 2048), hashes.SHA256(), CsrReason.FOREIGN_KEY_TYPE),
        (ed25519.Ed25519PrivateKey.generate(), None, CsrReason.FOREIGN_KEY_TYPE),
        (ec.generate_private_key(ec.SECP521R1()), hashes.SHA512(), CsrReason.FOREIGN_CURVE),
        (ec.generate_private_key(ec.SECP256K1()), hashes.SHA256(), CsrReason.FOREIGN_CURVE),
        (KEY, hashes.SHA224(), CsrReason.WEAK_SIGNATURE),
    ],
)
def test_a_weak_or_foreign_key_or_signature_is_refused(
    key: SigningKey, algorithm: hashes.SHA224 | hashes.SHA256 | hashes.SHA512 | None, reason: CsrReason
) -> None:
    csr = x509.CertificateSigningRequestBuilder().subject_name(common_name("a")).sign(key, algorithm)
    _is_refused(csr.public_bytes(serialization.Encoding.DER), reason)


@pytest.mark.check("trust-06")
def test_a_request_that_another_key_signed_is_refused() -> None:
    other = make_csr(new_key())
    # The keys are of one length and in one place, so that one can be put into the other's request.
    point = {encoding: _point(encoding) for encoding in (CSR, other)}
    _is_refused(CSR.replace(point[CSR], point[other]), CsrReason.BAD_SIGNATURE)


@pytest.mark.check("trust-06")
@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        (b"", CsrReason.MALFORMED),
        (b"garbage", CsrReason.MALFORMED),
        (CSR[:-1], CsrReason.MALFORMED),
        (CSR + b"\x00", CsrReason.MALFORMED),
        (x509.load_der_x509_csr(CSR).public_bytes(serialization.Encoding.PEM), CsrReason.MALFORMED),
        (CSR.ljust(MAX_CSR_BYTES, b"\x00"), CsrReason.MALFORMED),
        (CSR.ljust(MAX_CSR_BYTES + 1, b"\x00"), CsrReason.TOO_LARGE),
        (b"\x30" * 1_000_000, CsrReason.TOO_LARGE),
    ],
)
def test_what_is_no_request_or_too_large_for_one_is_refused(csr: bytes, reason: CsrReason) -> None:
    _is_refused(csr, reason)


@pytest.mark.check("trust-06")
@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"\x30\x80\x00\x00")
def test_any_bytes_that_are_no_request_are_refused(content: bytes) -> None:
    with pytest.raises(CsrRefused):
        checked_public_key(content)


@pytest.mark.check("trust-06")
@settings(deadline=None)
@given(position=st.integers(0, len(CSR) - 1), flip=st.integers(1, 255))
def test_a_request_with_any_byte_changed_is_refused(position: int, flip: int) -> None:
    changed = bytearray(CSR)
    changed[position] ^= flip
    with pytest.raises(CsrRefused):
        checked_public_key(bytes(changed))


def _point(csr: bytes) -> bytes:
    public_key = x509.load_der_x509_csr(csr).public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _is_refused(csr: bytes, reason: CsrReason) -> None:
    with pytest.raises(CsrRefused) as refusal:
        checked_public_key(csr)
    assert refusal.value.reason is reason

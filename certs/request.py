"""Certificate signing requests (PKCS#10, RFC 2986): how a public key travels, and nothing else.

Whatever else a request asks for (subject, names, CA:TRUE) is not read at all, so it cannot be honoured.
"""

from enum import StrEnum, auto

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs.errors import CertsError
from certs.keys import KeyReason, KeyRefused, checked_public_key_type

MAX_CSR_BYTES = 16 * 1024


class CsrReason(StrEnum):
    """Why a request was refused."""

    TOO_LARGE = auto()
    MALFORMED = auto()
    FOREIGN_KEY_TYPE = auto()
    FOREIGN_CURVE = auto()
    WEAK_SIGNATURE = auto()
    BAD_SIGNATURE = auto()


class CsrRefused(CertsError[CsrReason]):
    """A certificate signing request that proves nothing, or proves it for a key Moorage does not certify."""


def make_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A DER request that holds the public key and the proof that its private half is at hand."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def checked_public_key(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a DER request (at most 16 KiB) that its private half signed; raises `CsrRefused`."""
    if len(csr_der) > MAX_CSR_BYTES:
        raise CsrRefused(CsrReason.TOO_LARGE, f"a CSR has at most {MAX_CSR_BYTES} bytes")
    try:
        csr = x509.load_der_x509_csr(csr_der)
        public_key = checked_public_key_type(csr.public_key(), source="the key of the CSR")
        strong = isinstance(csr.signature_hash_algorithm, _STRONG_HASHES)
        signed = strong and csr.is_signature_valid
    except KeyRefused as error:
        raise CsrRefused(_KEY_REASONS[error.reason], str(error)) from error
    except UnsupportedAlgorithm as error:
        raise CsrRefused(
            CsrReason.FOREIGN_KEY_TYPE, "the CSR's algorithms are not supported: use ECDSA on P-256 or P-384"
        ) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise CsrRefused(CsrReason.MALFORMED, "not a CSR in DER (PKCS#10)") from error
    if not strong:
        raise CsrRefused(CsrReason.WEAK_SIGNATURE, "sign the CSR with SHA-256, SHA-384 or SHA-512")
    if not signed:
        raise CsrRefused(CsrReason.BAD_SIGNATURE, "the CSR is not signed by the private half of its key")
    return public_key


_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_KEY_REASONS = {
    KeyReason.FOREIGN_TYPE: CsrReason.FOREIGN_KEY_TYPE,
    KeyReason.FOREIGN_CURVE: CsrReason.FOREIGN_CURVE,
}

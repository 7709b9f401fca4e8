"""Client certificates that are given as credentials: whether they can be used at all."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from moorage.director.v1.credential_pb2 import CertificateCredential
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal


def check_certificate(sent: CertificateCredential, field: str) -> None:
    """Raise `Refusal` (FIELD_INVALID) unless it is a chain in PEM and the unencrypted private key of its first.

    Whether anybody trusts it, and whether its time has come, is for the one that it is shown to. No message tells
    anything of the key.
    """
    try:
        certified = x509.load_pem_x509_certificates(sent.certificate_chain.encode())[0].public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise _refusal(f"{field}.certificate_chain", "must be certificates in PEM") from None
    try:
        key = load_pem_private_key(sent.private_key.encode(), password=None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        raise _refusal(f"{field}.private_key", "must be an unencrypted private key in PEM") from None
    except Exception as error:
        if type(error).__module__.startswith("cryptography."):
            raise _refusal(f"{field}.private_key", "must be a key of a supported kind") from None
        raise
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != certified.public_bytes(*spki):
        raise _refusal(f"{field}.private_key", "must be the key of the first certificate")


def _refusal(field: str, rule: str) -> Refusal:
    return Refusal(Reason.REASON_FIELD_INVALID, f"{field}: {rule}", field=field)

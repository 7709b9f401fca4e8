"""The TBSCertificate of a leaf (RFC 5280, 4.1) in DER (X.690): the bytes that a signature will be over, without one.

`cryptography` encodes the parts, and puts them together only where it signs, too. Whatever is made here is read back
before it leaves: see `certs.issue.sign`.
"""

from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import authority_key_identifier

AUTHENTICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
BOTH_ENDS_OF_TLS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING = 0x01, 0x02, 0x03, 0x04
_UTC_TIME, _GENERALIZED_TIME, _SEQUENCE = 0x17, 0x18, 0x30
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")  # AlgorithmIdentifier (RFC 5758, 3.2)
_CERTIFICATE_EXTENSION = bytes.fromhex("0603551d")  # OBJECT IDENTIFIER 2.5.29.*, up to its last octet (RFC 5280, 4.2.1)


def encode(
    issuer: x509.Certificate,
    serial_number: int,
    not_before: datetime,
    not_after: datetime,
    public_key: ec.EllipticCurvePublicKey,
    names: x509.SubjectAlternativeName,
) -> bytes:
    """The TBSCertificate of a leaf that `issuer` signs with ECDSA and SHA-256. Its subject is empty."""
    issued_by, extensions = _in_all_of(issuer)
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return _der(
        _SEQUENCE,
        _der(_VERSION, _integer(2)),  # version 3
        _integer(serial_number),
        _ECDSA_WITH_SHA256,
        issued_by,
        _der(_SEQUENCE, _time(not_before), _time(not_after)),
        _der(_SEQUENCE),
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        _der(_EXTENSIONS, _der(_SEQUENCE, _extension(names, critical=True), extensions, _extension(key_identifier))),
    )


def signed(tbs: bytes, signature: bytes) -> bytes:
    """The certificate in DER that an ECDSA signature with SHA-256 over `tbs` makes."""
    return _der(_SEQUENCE, tbs, _ECDSA_WITH_SHA256, _der(_BIT_STRING, b"\0", signature))


@lru_cache(4)
def _in_all_of(issuer: x509.Certificate) -> tuple[bytes, bytes]:
    """What all leaves of an authority have in common: its name, and extensions."""
    extensions = (
        _extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        _extension(AUTHENTICATES, critical=True),
        _extension(BOTH_ENDS_OF_TLS),
        _extension(authority_key_identifier(issuer)),
    )
    return issuer.subject.public_bytes(), b"".join(extensions)


def _extension(extension: x509.ExtensionType, *, critical: bool = False) -> bytes:
    number = int(extension.oid.dotted_string.removeprefix("2.5.29."))
    is_critical = _der(_BOOLEAN, b"\xff") if critical else b""
    value = _der(_OCTET_STRING, extension.public_bytes())
    return _der(_SEQUENCE, _CERTIFICATE_EXTENSION, bytes((number,)), is_critical, value)


def _time(at: datetime) -> bytes:
    # Until the end of 2049 as UTCTime, later as GeneralizedTime (RFC 5280, 4.1.2.5).
    text = at.strftime("%Y%m%d%H%M%SZ").encode()
    return _der(_UTC_TIME, text[2:]) if at.year < 2050 else _der(_GENERALIZED_TIME, text)


def _integer(number: int) -> bytes:
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, *parts: bytes) -> bytes:
    """One value: tag, length, content (8.1)."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content

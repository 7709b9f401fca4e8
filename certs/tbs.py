"""The TBSCertificate of a leaf (RFC 5280, 4.1) in DER (X.690): the bytes that a signature will be over, without one.

`cryptography` encodes what all leaves of an authority have in common, and puts the parts together only where it signs,
too; what differs from leaf to leaf is encoded here. Whatever is made here is read back before it leaves: see
`certs.issue.sign`.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
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
_URI, _DNS_NAME, _IP_ADDRESS = 0x86, 0x82, 0x87  # GeneralName (RFC 5280, 4.2.1.6)
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")  # AlgorithmIdentifier (RFC 5758, 3.2)
_CERTIFICATE_EXTENSION = bytes.fromhex("0603551d")  # OBJECT IDENTIFIER 2.5.29.*, up to its last octet (RFC 5280, 4.2.1)
_SUBJECT_KEY_IDENTIFIER, _SUBJECT_ALTERNATIVE_NAME = 14, 17


def encode(
    issuer: x509.Certificate,
    serial_number: int,
    not_before: datetime,
    not_after: datetime,
    public_key_info: bytes,
    uri: str,
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[IPv4Address | IPv6Address] = (),
) -> bytes:
    """The TBSCertificate of a leaf that `issuer` signs with ECDSA and SHA-256. Its subject is empty.

    `public_key_info` is the DER of the SubjectPublicKeyInfo of a key on P-256 or P-384. Raises `UnicodeEncodeError` for
    a name that is not ASCII.
    """
    issued_by, extensions = _in_all_of(issuer)
    names = (
        _der(_URI, uri.encode("ascii")),
        *(_der(_DNS_NAME, name.encode("ascii")) for name in dns_names),
        *(_der(_IP_ADDRESS, address.packed) for address in ip_addresses),
    )
    # The point comes after the AlgorithmIdentifier, the head of the BIT STRING and its count of unused bits.
    key_identifier = hashlib.sha1(public_key_info[public_key_info[3] + 7 :], usedforsecurity=False).digest()
    return _der(
        _SEQUENCE,
        _VERSION_3,
        _integer(serial_number),
        _ECDSA_WITH_SHA256,
        issued_by,
        _der(_SEQUENCE, _time(not_before), _time(not_after)),
        _NO_SUBJECT,
        public_key_info,
        _der(
            _EXTENSIONS,
            _der(
                _SEQUENCE,
                _extension(_SUBJECT_ALTERNATIVE_NAME, _der(_SEQUENCE, *names), critical=True),
                extensions,
                _extension(_SUBJECT_KEY_IDENTIFIER, _der(_OCTET_STRING, key_identifier)),
            ),
        ),
    )


def signed(tbs: bytes, signature: bytes) -> bytes:
    """The certificate in DER that an ECDSA signature with SHA-256 over `tbs` makes."""
    return _der(_SEQUENCE, tbs, _ECDSA_WITH_SHA256, _der(_BIT_STRING, b"\0", signature))


@lru_cache(4)
def _in_all_of(issuer: x509.Certificate) -> tuple[bytes, bytes]:
    """What all leaves of an authority have in common: its name, and extensions."""
    extensions = (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (AUTHENTICATES, True),
        (BOTH_ENDS_OF_TLS, False),
        (authority_key_identifier(issuer), False),
    )
    encoded = (
        _extension(int(each.oid.dotted_string.removeprefix("2.5.29.")), each.public_bytes(), critical=critical)
        for each, critical in extensions
    )
    return issuer.subject.public_bytes(), b"".join(encoded)


def _extension(number: int, value: bytes, *, critical: bool = False) -> bytes:
    is_critical = _TRUE if critical else b""
    return _der(_SEQUENCE, _CERTIFICATE_EXTENSION, bytes((number,)), is_critical, _der(_OCTET_STRING, value))


def _time(at: datetime) -> bytes:
    # Until the end of 2049 as UTCTime, later as GeneralizedTime (RFC 5280, 4.1.2.5).
    year, month, day, hour, minute, second = at.timetuple()[:6]
    rest = b"%02d%02d%02d%02d%02dZ" % (month, day, hour, minute, second)
    if year < 2050:
        return _der(_UTC_TIME, b"%02d" % (year % 100), rest)
    return _der(_GENERALIZED_TIME, b"%04d" % year, rest)


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


_TRUE = _der(_BOOLEAN, b"\xff")
_VERSION_3 = _der(_VERSION, _integer(2))
_NO_SUBJECT = _der(_SEQUENCE)

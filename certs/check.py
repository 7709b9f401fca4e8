"""What must hold of a certificate: the X.509-SVID rules, and its path up to a trusted root.

Rule numbers are those of the X.509-SVID standard. Where the standard leaves a choice, Moorage's own
certificates have made it (a leaf has both extended key usages, an authority names its trust domain), and
nothing else is taken.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum, auto
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.errors import CertsError
from certs.spiffe import SpiffeId, SpiffeIdRefused

# One issuing authority between leaf and root; the path lengths in the certificates say the same.
MAX_INTERMEDIATES = 1


class SvidReason(StrEnum):
    """Which rule a certificate breaks."""

    MALFORMED = auto()
    NO_URI_SAN = auto()
    SEVERAL_URI_SANS = auto()
    SAN_NOT_CRITICAL = auto()
    NOT_A_SPIFFE_ID = auto()
    NO_PATH = auto()
    HAS_PATH = auto()
    IS_AUTHORITY = auto()
    NOT_AN_AUTHORITY = auto()
    NO_KEY_USAGE = auto()
    KEY_USAGE_NOT_CRITICAL = auto()
    NO_DIGITAL_SIGNATURE = auto()
    MAY_SIGN_CERTIFICATES = auto()
    MAY_SIGN_CRLS = auto()
    MAY_NOT_SIGN_CERTIFICATES = auto()
    NO_KEY_IDENTIFIER = auto()
    NO_EXTENDED_KEY_USAGE = auto()
    NO_SERVER_AUTH = auto()
    NO_CLIENT_AUTH = auto()


class SvidRefused(CertsError[SvidReason]):
    """The certificate is no X.509-SVID of the kind asked for."""


class ChainReason(StrEnum):
    """Why there is no path from a leaf to a trusted root."""

    NO_ROOTS = auto()
    NOT_YET_VALID = auto()
    EXPIRED = auto()
    AUTHORITY_NOT_VALID = auto()
    UNTRUSTED = auto()
    FOREIGN_TRUST_DOMAIN = auto()


class ChainRefused(CertsError[ChainReason]):
    """The leaf does not lead to any of the roots at the time asked about."""


def check_svid(certificate: x509.Certificate) -> SpiffeId:
    """Hold a leaf against every X.509-SVID rule and return whom it names.

    Says nothing about who signed it or when it is valid: that is `verify_chain`. Raises `SvidRefused`.
    """
    return _check(certificate, _LEAF_RULES)


@lru_cache(64)
def check_authority(certificate: x509.Certificate) -> SpiffeId:
    """Hold a signing certificate (3.2) against the rules for one and return its trust domain's ID.

    There are few of them, so that one which held is remembered. Raises `SvidRefused`.
    """
    return _check(certificate, _AUTHORITY_RULES)


def verify_chain(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
) -> tuple[x509.Certificate, ...]:
    """The path from `leaf` to one of the trusted `roots`, in that order, as it is valid `at` that time.

    RFC 5280 path validation (signatures, validity of every certificate with both ends included, basic
    constraints, path lengths, critical extensions), the SVID rules for each certificate, and one trust domain
    all along. Works for clients and servers alike; the host name of a server is for TLS to check. Knows
    nothing of revocation. Raises `SvidRefused` and `ChainRefused`.
    """
    spiffe_id = check_svid(leaf)
    if not roots:
        raise ChainRefused(ChainReason.NO_ROOTS, "the trust bundle is empty")
    _check_validity(leaf, at)
    # A leaf has both extended key usages, so the client verifier is right for servers as well: it differs
    # from the other one only in not asking for a host name.
    policy = PolicyBuilder().store(Store(list(roots))).time(at).max_chain_depth(MAX_INTERMEDIATES)
    try:
        path = tuple(policy.build_client_verifier().verify(leaf, list(intermediates)).chain)
    except (VerificationError, *_UNREADABLE) as error:
        raise _why_untrusted(leaf, intermediates, roots, at) from error
    for authority in path[1:]:
        if check_authority(authority).trust_domain != spiffe_id.trust_domain:
            raise ChainRefused(
                ChainReason.FOREIGN_TRUST_DOMAIN,
                f"{spiffe_id} is certified by an authority of another trust domain",
            )
    return path


def root_pin(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER certificate as 64 lowercase hex digits: what one-time tokens pin."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def serial_hex(certificate: x509.Certificate) -> str:
    """The serial number as `openssl x509 -serial` prints it, but in lowercase: two hex digits an octet."""
    return number_hex(certificate.serial_number)


def number_hex(serial_number: int) -> str:
    """A serial number in the same form."""
    return serial_number.to_bytes(max(1, (serial_number.bit_length() + 7) // 8), "big").hex()


# A rule looks at the certificate and the SPIFFE ID in it, and raises if it is broken.
_Rule = Callable[[x509.Certificate, SpiffeId], None]
_ExtensionT = TypeVar("_ExtensionT", bound=x509.ExtensionType)

# How `cryptography` says that it cannot make sense of something inside a certificate.
_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm)


def _check(certificate: x509.Certificate, rules: Sequence[_Rule]) -> SpiffeId:
    try:
        spiffe_id = _spiffe_id(certificate)
        for rule in rules:
            rule(certificate, spiffe_id)
    except _UNREADABLE as error:
        raise SvidRefused(SvidReason.MALFORMED, "the certificate cannot be read in full") from error
    return spiffe_id


def _spiffe_id(certificate: x509.Certificate) -> SpiffeId:
    names = _extension(certificate, x509.SubjectAlternativeName)
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if not uris:
        raise SvidRefused(SvidReason.NO_URI_SAN, "the certificate has no URI SAN (2)")
    if len(uris) > 1:
        raise SvidRefused(SvidReason.SEVERAL_URI_SANS, "the certificate has more than one URI SAN (2)")
    try:
        return SpiffeId.parse(uris[0])
    except SpiffeIdRefused as error:
        raise SvidRefused(SvidReason.NOT_A_SPIFFE_ID, f"the URI SAN is no SPIFFE ID: {error}") from error


def _is_readable(certificate: x509.Certificate, _: SpiffeId) -> None:
    certificate.public_key()  # read only when asked for, so that it may still turn out to be none
    if certificate.serial_number <= 0:
        raise SvidRefused(SvidReason.MALFORMED, "the serial number is not positive (RFC 5280, 4.1.2.2)")


def _san_is_critical_without_subject(certificate: x509.Certificate, _: SpiffeId) -> None:
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names and not names.critical and not certificate.subject.rdns:
        raise SvidRefused(
            SvidReason.SAN_NOT_CRITICAL, "the subject is empty and the SAN extension is not critical (3.1)"
        )


def _has_path(_: x509.Certificate, spiffe_id: SpiffeId) -> None:
    if spiffe_id.is_authority:
        raise SvidRefused(SvidReason.NO_PATH, f"{spiffe_id} has no path, which a leaf must have (3.1)")


def _has_no_path(_: x509.Certificate, spiffe_id: SpiffeId) -> None:
    if not spiffe_id.is_authority:
        raise SvidRefused(SvidReason.HAS_PATH, f"{spiffe_id} has a path, which no authority may have (3.2)")


def _is_no_authority(certificate: x509.Certificate, _: SpiffeId) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints and constraints.value.ca:
        raise SvidRefused(SvidReason.IS_AUTHORITY, "the certificate is an authority's, not a leaf (4.1)")


def _is_authority(certificate: x509.Certificate, _: SpiffeId) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if not (constraints and constraints.value.ca and constraints.critical):
        raise SvidRefused(
            SvidReason.NOT_AN_AUTHORITY, "the certificate does not say CA in critical basic constraints (4.1)"
        )


def _has_critical_key_usage(certificate: x509.Certificate, _: SpiffeId) -> None:
    usage = _extension(certificate, x509.KeyUsage)
    if not usage:
        raise SvidRefused(SvidReason.NO_KEY_USAGE, "the certificate has no key usage (4.3)")
    if not usage.critical:
        raise SvidRefused(SvidReason.KEY_USAGE_NOT_CRITICAL, "the key usage is not critical (4.3)")


def _may_only_authenticate(certificate: x509.Certificate, _: SpiffeId) -> None:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.digital_signature:
        raise SvidRefused(SvidReason.NO_DIGITAL_SIGNATURE, "the key usage lacks digitalSignature (4.3)")
    if usage.key_cert_sign:
        raise SvidRefused(SvidReason.MAY_SIGN_CERTIFICATES, "the key usage has keyCertSign (4.3)")
    if usage.crl_sign:
        raise SvidRefused(SvidReason.MAY_SIGN_CRLS, "the key usage has cRLSign (4.3)")


def _may_sign_certificates(certificate: x509.Certificate, _: SpiffeId) -> None:
    if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
        raise SvidRefused(SvidReason.MAY_NOT_SIGN_CERTIFICATES, "the key usage lacks keyCertSign (4.3)")


def _has_key_identifier(certificate: x509.Certificate, _: SpiffeId) -> None:
    if not _extension(certificate, x509.SubjectKeyIdentifier):
        raise SvidRefused(
            SvidReason.NO_KEY_IDENTIFIER, "the authority has no subject key identifier (RFC 5280, 4.2.1.2)"
        )


def _has_both_extended_key_usages(certificate: x509.Certificate, _: SpiffeId) -> None:
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if not usage:
        raise SvidRefused(SvidReason.NO_EXTENDED_KEY_USAGE, "the certificate has no extended key usage (4.4)")
    if ExtendedKeyUsageOID.SERVER_AUTH not in usage.value:
        raise SvidRefused(SvidReason.NO_SERVER_AUTH, "the extended key usage lacks serverAuth (4.4)")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage.value:
        raise SvidRefused(SvidReason.NO_CLIENT_AUTH, "the extended key usage lacks clientAuth (4.4)")


_LEAF_RULES: Sequence[_Rule] = (
    _is_readable,
    _san_is_critical_without_subject,
    _has_path,
    _is_no_authority,
    _has_critical_key_usage,
    _may_only_authenticate,
    _has_both_extended_key_usages,
)

_AUTHORITY_RULES: Sequence[_Rule] = (
    _is_readable,
    _has_no_path,
    _is_authority,
    _has_critical_key_usage,
    _may_sign_certificates,
    _has_key_identifier,
)


def _extension(certificate: x509.Certificate, kind: type[_ExtensionT]) -> x509.Extension[_ExtensionT] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _check_validity(leaf: x509.Certificate, at: datetime) -> None:
    if at < leaf.not_valid_before_utc:
        raise ChainRefused(
            ChainReason.NOT_YET_VALID,
            f"the certificate is valid from {leaf.not_valid_before_utc.isoformat()}, after {at.isoformat()}: "
            "compare the clocks",
        )
    if at > leaf.not_valid_after_utc:
        raise ChainRefused(
            ChainReason.EXPIRED,
            f"the certificate expired at {leaf.not_valid_after_utc.isoformat()}, before {at.isoformat()}",
        )


def _why_untrusted(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
) -> ChainRefused:
    # Only words for a refusal that is already certain: the verifier's own text names no cause.
    stale = [
        authority
        for authority in (*intermediates, *roots)
        if not authority.not_valid_before_utc <= at <= authority.not_valid_after_utc
    ]
    if stale:
        return ChainRefused(
            ChainReason.AUTHORITY_NOT_VALID,
            f"no path to a trusted root is valid at {at.isoformat()}: "
            f"the authority {serial_hex(stale[0])} is not valid then",
        )
    return ChainRefused(
        ChainReason.UNTRUSTED,
        f"the certificate {serial_hex(leaf)} does not lead to any of {len(roots)} trusted root(s)",
    )

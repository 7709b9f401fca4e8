"""Issuing leaves: X.509-SVIDs that say exactly what was asked for, each checked again before it leaves.

Planning is apart from signing, so that a ledger can record between the two which bytes are to be signed: `plan` makes
them, and `sign` signs them as they are.

The subject is empty and the SAN extension therefore critical (RFC 5280, 4.1.2.6): the SPIFFE ID is the only
name, so there is no second one that could say something else or be taken for the identity.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs import tbs
from certs.authority import Authority
from certs.check import SvidRefused, check_svid, number_hex, serial_hex
from certs.clock import Clock
from certs.keys import checked_public_key_type, public_key_info, public_key_sha256
from certs.policy import Draft, IssueReason, IssueRefused, plain_profile
from certs.spiffe import SpiffeId

__all__ = ["IssueReason", "IssueRefused", "IssuedCertificate", "PlannedCertificate", "issue", "plan", "sign"]


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """What is to be signed, and what a ledger wants to know of it."""

    tbs: bytes
    """The DER of the TBSCertificate (RFC 5280, 4.1): the very bytes that a signature will be over."""
    serial_hex: str
    """As `certs.check.serial_hex` writes it."""
    spiffe_id: SpiffeId
    public_key_sha256: bytes
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A leaf and what a ledger wants to know of it."""

    certificate: x509.Certificate
    der: bytes
    chain_pem: bytes
    """The leaf, then its issuing authority; the root is in the trust bundle, not here."""
    serial_hex: str
    """As `certs.check.serial_hex` writes it."""
    not_before: datetime
    not_after: datetime


def issue(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    spiffe_id: SpiffeId,
    lifetime: timedelta,
    clock: Clock,
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[IPv4Address | IPv6Address] = (),
    *,
    server: bool = False,
) -> IssuedCertificate:
    """Certify that `public_key` belongs to `spiffe_id`, from a minute ago until `lifetime` from now, on no record.

    It ends with the issuing authority at the latest. A server has one host name or address or more, since
    gRPC clients compare them; anybody else has none. Raises as `certs.policy.Profile.draft` and `sign` do.
    """
    profile = plain_profile(lifetime)
    draft = profile.draft(authority, public_key, spiffe_id, clock(), dns_names, ip_addresses, server=server)
    return sign(authority, plan(draft))


def plan(draft: Draft) -> PlannedCertificate:
    """Fix what is to be signed for a draft that its profile let pass, with a new random serial number."""
    serial_number = x509.random_serial_number()
    key_info = public_key_info(draft.public_key)
    return PlannedCertificate(
        tbs=tbs.encode(
            draft.authority.certificate,
            serial_number,
            draft.not_before,
            draft.not_after,
            key_info,
            str(draft.spiffe_id),
            draft.dns_names,
            draft.ip_addresses,
        ),
        serial_hex=number_hex(serial_number),
        spiffe_id=draft.spiffe_id,
        public_key_sha256=hashlib.sha256(key_info).digest(),
        not_before=draft.not_before,
        not_after=draft.not_after,
    )


def sign(authority: Authority, planned: PlannedCertificate) -> IssuedCertificate:
    """Sign the planned bytes, and look at what came of it as a peer will.

    Raises `IssueRefused` (SELF_CHECK_FAILED) for a certificate that is not what was planned, breaks a rule or does not
    lead to the authority: a device that signs wrongly is seen here, and so is a plan that somebody laid a hand on.
    """
    signature = authority.key.sign(planned.tbs, _ECDSA_WITH_SHA256)
    der = tbs.signed(planned.tbs, signature)
    certificate = _checked(der, signature, authority, planned)
    return IssuedCertificate(
        certificate=certificate,
        der=der,
        chain_pem=certificate.public_bytes(Encoding.PEM) + authority.issuers_pem,
        serial_hex=planned.serial_hex,
        not_before=planned.not_before,
        not_after=planned.not_after,
    )


_ECDSA_WITH_SHA256 = ec.ECDSA(hashes.SHA256())


def _checked(der: bytes, signature: bytes, authority: Authority, planned: PlannedCertificate) -> x509.Certificate:
    # From the authority up to the root the path was checked when the Authority was made: one signature is left.
    issuer = authority.certificate
    try:
        certificate = x509.load_der_x509_certificate(der)
        name, public_key = _name_and_key(issuer)
        public_key.verify(signature, planned.tbs, _ECDSA_WITH_SHA256)
        extensions = certificate.extensions
        as_planned = (
            certificate.issuer == name
            and check_svid(certificate) == planned.spiffe_id
            and planned.spiffe_id.trust_domain == authority.trust_domain
            and certificate.tbs_certificate_bytes == planned.tbs
            and serial_hex(certificate) == planned.serial_hex
            and public_key_sha256(certificate.public_key()) == planned.public_key_sha256
            and (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
            == (planned.not_before, planned.not_after)
            and issuer.not_valid_before_utc <= planned.not_before < planned.not_after <= issuer.not_valid_after_utc
            and extensions.get_extension_for_class(x509.KeyUsage).value == tbs.AUTHENTICATES
            and extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == tbs.BOTH_ENDS_OF_TLS
        )
    except (SvidRefused, InvalidSignature, TypeError, ValueError) as error:
        raise IssueRefused(IssueReason.SELF_CHECK_FAILED, f"a new certificate fails its check: {error}") from error
    if not as_planned:
        raise IssueRefused(IssueReason.SELF_CHECK_FAILED, "a new certificate is not what was planned")
    return certificate


@lru_cache(4)
def _name_and_key(issuer: x509.Certificate) -> tuple[x509.Name, ec.EllipticCurvePublicKey]:
    # To read them anew for each leaf would take half as long as to verify its signature.
    return issuer.subject, checked_public_key_type(issuer.public_key())

"""Issuing leaves: X.509-SVIDs that say exactly what was asked for, each checked again before it leaves.

The subject is empty and the SAN extension therefore critical (RFC 5280, 4.1.2.6): the SPIFFE ID is the only
name, so there is no second one that could say something else or be taken for the identity.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import (
    Authority,
    AuthorityReason,
    AuthorityRefused,
    authority_key_identifier,
    certificates_to_pem,
    validity,
)
from certs.check import ChainRefused, SvidRefused, serial_hex, verify_chain
from certs.clock import Clock
from certs.errors import CertsError
from certs.keys import checked_public_key_type, public_key_sha256
from certs.spiffe import SpiffeId


class IssueReason(StrEnum):
    """Why no certificate was issued."""

    FOREIGN_TRUST_DOMAIN = auto()
    SERVER_WITHOUT_HOST_NAME = auto()
    CLIENT_WITH_HOST_NAME = auto()
    BAD_DNS_NAME = auto()
    SELF_CHECK_FAILED = auto()


class IssueRefused(CertsError[IssueReason]):
    """What was asked for is not issued, or what was signed did not pass the check."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A leaf and what a ledger wants to know of it."""

    certificate: x509.Certificate
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
    """Certify that `public_key` belongs to `spiffe_id`, from a minute ago until `lifetime` from now.

    It ends with the issuing authority at the latest. A server has one host name or address or more, since
    gRPC clients compare them; anybody else has none.

    Raises `IssueRefused`; `certs.spiffe.SpiffeIdRefused` for an identity that Moorage does not know;
    `certs.keys.KeyRefused` for a key not on P-256 or P-384; `certs.authority.AuthorityRefused` for a root
    (its key signs only authorities), for an authority not valid now, and for a lifetime under a second.
    """
    _check_asked(authority, public_key, spiffe_id, dns_names, ip_addresses, server=server)
    not_before, not_after = validity(clock, lifetime, authority.certificate)
    names = x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(str(spiffe_id)),
            *(x509.DNSName(name) for name in dns_names),
            *(x509.IPAddress(address) for address in ip_addresses),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .issuer_name(authority.certificate.subject)
        .subject_name(x509.Name([]))
        .public_key(public_key)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_AUTHENTICATES, critical=True)
        .add_extension(_BOTH_ENDS_OF_TLS, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_key_identifier(authority.certificate), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    _check_signed(certificate.public_bytes(Encoding.DER), authority, public_key, names, not_before, not_after)
    return IssuedCertificate(
        certificate=certificate,
        chain_pem=certificates_to_pem((certificate, authority.certificate, *authority.chain[:-1])),
        serial_hex=serial_hex(certificate),
        not_before=not_before,
        not_after=not_after,
    )


# RFC 1123 host names in lowercase; no wildcards.
_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")

_BOTH_ENDS_OF_TLS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])

_AUTHENTICATES = x509.KeyUsage(
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


def _check_asked(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    spiffe_id: SpiffeId,
    dns_names: Sequence[str],
    ip_addresses: Sequence[IPv4Address | IPv6Address],
    *,
    server: bool,
) -> None:
    if authority.is_root:
        raise AuthorityRefused(
            AuthorityReason.NOT_AN_ISSUING_AUTHORITY, "a root's key signs issuing authorities, never leaves"
        )
    checked_public_key_type(public_key)
    kind = spiffe_id.kind  # raises for what is none of Moorage's identities
    if spiffe_id.trust_domain != authority.trust_domain:
        raise IssueRefused(
            IssueReason.FOREIGN_TRUST_DOMAIN,
            f"{spiffe_id} is not in {authority.trust_domain}, the authority's trust domain",
        )
    if server and not (dns_names or ip_addresses):
        raise IssueRefused(
            IssueReason.SERVER_WITHOUT_HOST_NAME, f"a {kind} that serves needs a DNS name or an IP address"
        )
    if not server and (dns_names or ip_addresses):
        raise IssueRefused(
            IssueReason.CLIENT_WITH_HOST_NAME, f"a {kind} that does not serve gets no DNS name or IP address"
        )
    for name in dns_names:
        if not _DNS_NAME.fullmatch(name):
            raise IssueRefused(IssueReason.BAD_DNS_NAME, f"{name!r} is not a host name in lowercase")


def _check_signed(
    der: bytes,
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    names: x509.SubjectAlternativeName,
    not_before: datetime,
    not_after: datetime,
) -> None:
    # Read back from its bytes, as a peer will: a key in a device that signs wrongly is seen here too. From
    # the authority up to the root the path was checked when the Authority was made.
    certificate = x509.load_der_x509_certificate(der)
    try:
        verify_chain(certificate, [], [authority.certificate], not_before)
    except (SvidRefused, ChainRefused) as error:
        raise IssueRefused(IssueReason.SELF_CHECK_FAILED, f"a new certificate fails its check: {error}") from error
    extensions = certificate.extensions
    as_asked = (
        extensions.get_extension_for_class(x509.SubjectAlternativeName).value == names
        and extensions.get_extension_for_class(x509.KeyUsage).value == _AUTHENTICATES
        and extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == _BOTH_ENDS_OF_TLS
        and public_key_sha256(certificate.public_key()) == public_key_sha256(public_key)
        and (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (not_before, not_after)
        and certificate.serial_number > 0
    )
    if not as_asked:
        raise IssueRefused(IssueReason.SELF_CHECK_FAILED, "a new certificate is not what was asked for")

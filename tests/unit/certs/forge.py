"""Certificates of every shape, good and bad, for tests. Nothing here checks anything."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from certs.authority import Authority, create_issuing, create_root
from certs.keys import new_key

TRUST_DOMAIN = "moorage.test"
UUID = "4b0c6a0e-52c9-4d8b-9a4e-0f1d2c3b4a59"
LEAF_ID = f"spiffe://{TRUST_DOMAIN}/application/{UUID}"
NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)

KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass
class StoppedClock:
    """A clock that moves only when told to."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


def authorities(clock: StoppedClock, trust_domain: str = TRUST_DOMAIN) -> tuple[Authority, Authority]:
    root = create_root(trust_domain, clock)
    return root, create_issuing(root, clock)


def key_usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in KEY_USAGES})


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def of_version_9(certificate: x509.Certificate) -> bytes:
    """The certificate in PEM, but of a version that there is not: whoever reads it finds that out at once."""
    der = certificate.public_bytes(Encoding.DER)
    return ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1)).encode()


@dataclass(frozen=True)
class Forgery:
    """A certificate to be signed by whoever: as built it is a good leaf. An extension that is None is left out."""

    uris: tuple[str, ...] = (LEAF_ID,)
    dns_names: tuple[str, ...] = ()
    san_critical: bool = True
    subject: x509.Name = field(default_factory=lambda: x509.Name([]))
    constraints: x509.BasicConstraints | None = field(
        default_factory=lambda: x509.BasicConstraints(ca=False, path_length=None)
    )
    constraints_critical: bool = True
    usage: x509.KeyUsage | None = field(default_factory=lambda: key_usage("digital_signature"))
    usage_critical: bool = True
    extended_usage: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    key_identifier: bool = True
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    serial: int = field(default_factory=x509.random_serial_number)
    not_before: datetime = NOW - timedelta(minutes=1)
    not_after: datetime = NOW + timedelta(hours=1)

    def but(self, **changes: Any) -> Forgery:
        return replace(self, **changes)

    def signed_by(self, issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        return self._sign(issuer.subject, issuer.public_key(), issuer_key)

    def self_signed(self) -> x509.Certificate:
        return self._sign(self.subject, self.key.public_key(), self.key)

    def _sign(
        self, issuer_name: x509.Name, issuer_public_key: object, issuer_key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        assert isinstance(issuer_public_key, ec.EllipticCurvePublicKey)
        builder = (
            x509.CertificateBuilder()
            .serial_number(self.serial)
            .issuer_name(issuer_name)
            .subject_name(self.subject)
            .public_key(self.key.public_key())
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
        )
        for extension, critical in self._extensions(issuer_public_key):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(issuer_key, hashes.SHA256())

    def _extensions(self, issuer_public_key: ec.EllipticCurvePublicKey) -> Iterable[tuple[x509.ExtensionType, bool]]:
        names = [
            *(x509.UniformResourceIdentifier(uri) for uri in self.uris),
            *(x509.DNSName(name) for name in self.dns_names),
        ]
        if names:
            yield x509.SubjectAlternativeName(names), self.san_critical
        if self.constraints:
            yield self.constraints, self.constraints_critical
        if self.usage:
            yield self.usage, self.usage_critical
        if self.extended_usage:
            yield x509.ExtendedKeyUsage(self.extended_usage), False
        if self.key_identifier:
            yield x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public_key), False
        yield from self.extra


LEAF = Forgery()

AUTHORITY = Forgery(
    uris=(f"spiffe://{TRUST_DOMAIN}",),
    san_critical=False,
    subject=common_name("Forged authority"),
    constraints=x509.BasicConstraints(ca=True, path_length=0),
    usage=key_usage("key_cert_sign", "crl_sign"),
    extended_usage=(),
)

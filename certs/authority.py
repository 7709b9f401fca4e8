"""Signing authorities: a root whose key signs only issuing authorities, and these sign the leaves.

The profile (RFC 5280, X.509-SVID 3.2): ECDSA on P-256; path length 1 on the root and 0 below, so that no
further authority can grow; the trust domain as URI SAN; no name constraints, since gRPC and `cryptography`
disagree on those for URIs.
"""

import errno
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, auto
from functools import lru_cache
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs import files
from certs.check import SvidRefused, check_authority
from certs.clock import Clock
from certs.errors import CertsError
from certs.keys import key_from_pem, key_to_pem, new_key, public_key_sha256
from certs.spiffe import SpiffeId

ROOT_LIFETIME = timedelta(days=3652)
ISSUING_LIFETIME = timedelta(days=365)

CLOCK_SKEW = timedelta(seconds=60)
"""How far certificates are dated back, so that hosts whose clocks run behind accept them at once."""

CERTIFICATE_FILE = "ca.crt"
KEY_FILE = "ca.key"


class AuthorityReason(StrEnum):
    """Why something is no authority, or not the one needed."""

    MISSING = auto()
    EXISTS = auto()
    MALFORMED = auto()
    BREAKS_RULES = auto()
    KEY_MISMATCH = auto()
    BROKEN_CHAIN = auto()
    NOT_A_ROOT = auto()
    NOT_AN_ISSUING_AUTHORITY = auto()
    NOT_VALID_NOW = auto()
    BAD_LIFETIME = auto()


class AuthorityRefused(CertsError[AuthorityReason]):
    """An authority that cannot be used as asked."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A signing certificate, its key, and the certificates above it up to the root.

    Every instance fits together: the constructor raises `AuthorityRefused` when the certificate breaks the
    rules for authorities, the key is not its key, or the chain does not hold. `key` may be any object that
    implements `EllipticCurvePrivateKey`, so it need not be in memory (PKCS#11).
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()
    """From the issuer of `certificate` up to the root; empty for a root."""
    trust_domain: str = field(init=False, repr=False, compare=False)
    """The one trust domain that this authority certifies identities of."""

    def __post_init__(self) -> None:
        path = (self.certificate, *self.chain)
        try:
            trust_domains = {check_authority(each).trust_domain for each in path}
        except SvidRefused as error:
            raise AuthorityRefused(AuthorityReason.BREAKS_RULES, str(error)) from error
        if len(trust_domains) > 1:
            raise AuthorityRefused(AuthorityReason.BREAKS_RULES, "the chain spans several trust domains")
        if public_key_sha256(self.certificate.public_key()) != public_key_sha256(self.key.public_key()):
            raise AuthorityRefused(
                AuthorityReason.KEY_MISMATCH, "the key does not belong to the authority's certificate"
            )
        for child, issuer in zip(path, (*path[1:], path[-1]), strict=True):
            _check_issued_by(child, issuer)
        object.__setattr__(self, "trust_domain", trust_domains.pop())

    @classmethod
    def from_pem(cls, chain_pem: bytes, key_pem: bytes, passphrase: bytes | None = None) -> Self:
        """Read what `chain_pem` and `key_pem` gave. Raises `AuthorityRefused` and `certs.keys.KeyRefused`."""
        try:
            certificate, *chain = x509.load_pem_x509_certificates(chain_pem)
        except (ValueError, x509.InvalidVersion) as error:
            raise AuthorityRefused(AuthorityReason.MALFORMED, "the authority's certificates are not in PEM") from error
        return cls(certificate, key_from_pem(key_pem, passphrase, source="the authority's key"), tuple(chain))

    @classmethod
    def load(cls, folder: Path, passphrase: bytes | None = None) -> Self:
        """Read the folder that `save` wrote.

        Raises `AuthorityRefused`; `certs.keys.KeyEncrypted` when a passphrase is needed and
        `certs.keys.WrongPassphrase` when it is not this one.
        """
        try:
            chain_pem = (folder / CERTIFICATE_FILE).read_bytes()
            key_pem = (folder / KEY_FILE).read_bytes()
        except FileNotFoundError as error:
            raise AuthorityRefused(
                AuthorityReason.MISSING, f"{folder} holds no authority: {error.filename} is missing"
            ) from error
        return cls.from_pem(chain_pem, key_pem, passphrase)

    def save(self, folder: Path, passphrase: bytes | None = None) -> None:
        """Make `folder` (mode 0700) with `ca.crt` and `ca.key` (0600), both at once or, in a crash, neither.

        An authority is never overwritten: a folder that exists and is not empty is refused (EXISTS).
        """
        key_pem = self.key_pem(passphrase)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            files.write_new(temporary / KEY_FILE, key_pem, files.PRIVATE)
            files.write_new(temporary / CERTIFICATE_FILE, self.chain_pem, files.PUBLIC)
            files.sync_folder(temporary)
            temporary.rename(folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno not in _IN_USE:
                raise
            raise AuthorityRefused(
                AuthorityReason.EXISTS, f"{folder} is in use: an authority is never overwritten"
            ) from error
        files.sync_folder(folder.parent)

    @property
    def chain_pem(self) -> bytes:
        """The authority's certificate first, the root last."""
        return certificates_to_pem((self.certificate, *self.chain))

    @property
    def issuers_pem(self) -> bytes:
        """Its certificate with those between it and the root, PEM: what follows a leaf on the wire."""
        return _remembered_pem((self.certificate, *self.chain[:-1]))

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """The key as `certs.keys.key_to_pem` writes it; for keys that are in memory only."""
        return key_to_pem(self.key, passphrase)

    @property
    def root(self) -> x509.Certificate:
        """The certificate at the top: what goes into trust bundles."""
        return (self.certificate, *self.chain)[-1]

    @property
    def is_root(self) -> bool:
        """Whether this signs issuing authorities; every other one signs leaves."""
        return not self.chain


def create_root(
    trust_domain: str,
    clock: Clock,
    lifetime: timedelta = ROOT_LIFETIME,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Authority:
    """A new self-signed root, with a new key unless one is given.

    Raises `certs.spiffe.SpiffeIdRefused` for a bad trust domain, `AuthorityRefused` for a bad lifetime.
    """
    key = key or new_key()
    spiffe_id = SpiffeId.authority(trust_domain)
    not_before, not_after = validity(clock, lifetime)
    builder = _builder(spiffe_id, "root", key.public_key(), path_length=1)
    certificate = (
        builder.issuer_name(_name("root", key.public_key()))
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def create_issuing(
    root: Authority,
    clock: Clock,
    lifetime: timedelta = ISSUING_LIFETIME,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Authority:
    """A new issuing authority under `root`, with a new key unless one is given.

    It ends with the root at the latest. Raises `AuthorityRefused`: NOT_A_ROOT, NOT_VALID_NOW, BAD_LIFETIME.
    """
    if not root.is_root:
        raise AuthorityRefused(AuthorityReason.NOT_A_ROOT, "only a root signs issuing authorities")
    key = key or new_key()
    not_before, not_after = validity(clock, lifetime, root.certificate)
    builder = _builder(SpiffeId.authority(root.trust_domain), "issuing", key.public_key(), path_length=0)
    certificate = (
        builder.issuer_name(root.certificate.subject)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(authority_key_identifier(root.certificate), critical=False)
        .sign(root.key, hashes.SHA256())
    )
    return Authority(certificate, key, (root.certificate,))


def validity(clock: Clock, lifetime: timedelta, issuer: x509.Certificate | None = None) -> tuple[datetime, datetime]:
    """When a certificate made now begins and ends, in whole seconds.

    It is dated back by `CLOCK_SKEW`, and stays within the issuer's life. Raises
    `AuthorityRefused`: NOT_VALID_NOW if the issuer is not, BAD_LIFETIME if less than a second.
    """
    now = clock().replace(microsecond=0)
    if lifetime < timedelta(seconds=1):
        raise AuthorityRefused(AuthorityReason.BAD_LIFETIME, "a certificate lives at least one second")
    if issuer is None:
        return now - CLOCK_SKEW, now + lifetime
    if not issuer.not_valid_before_utc <= now < issuer.not_valid_after_utc:
        raise AuthorityRefused(
            AuthorityReason.NOT_VALID_NOW,
            f"the signing authority is valid from {issuer.not_valid_before_utc.isoformat()} to "
            f"{issuer.not_valid_after_utc.isoformat()}, and now is {now.isoformat()}",
        )
    return (
        max(now - CLOCK_SKEW, issuer.not_valid_before_utc),
        min(now + lifetime, issuer.not_valid_after_utc),
    )


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Points at the issuer's key by the identifier in its certificate (RFC 5280, 4.2.1.1)."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def certificates_to_pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """The certificates in PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


_remembered_pem = lru_cache(16)(certificates_to_pem)

# What renaming a folder onto one that is not empty, or onto a file, says.
_IN_USE = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


def _builder(
    spiffe_id: SpiffeId, role: str, public_key: ec.EllipticCurvePublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .subject_name(_name(role, public_key))
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))]), critical=False)
    )


def _name(role: str, public_key: ec.EllipticCurvePublicKey) -> x509.Name:
    # Each generation has a name of its own, so that a path is found by name alone where two are trusted at
    # once. The trust domain does not fit: it may be four times as long as a common name.
    generation = public_key_sha256(public_key)[:8].hex()
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Moorage"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Moorage {role} authority {generation}"),
        ]
    )


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _check_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise AuthorityRefused(
            AuthorityReason.BROKEN_CHAIN,
            "a certificate of the authority's chain is not signed by the next one",
        ) from error

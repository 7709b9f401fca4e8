"""The issuing authority as the Connector holds it: what it signs with, and the roots that everybody is to trust."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.errors.v1.errors_pb2 import Reason

from certs.authority import Authority, certificates_to_pem
from certs.check import root_pin
from certs.clock import Clock
from certs.issue import IssuedCertificate, issue
from certs.keys import KeyRefused
from certs.spiffe import Kind, SpiffeId
from mesh.errors import Refusal


class AuthorityLocked(Exception):
    """The authority's key cannot be opened: the passphrase is missing or wrong. The text says what to do."""


@dataclass(frozen=True)
class IssuingAuthority:
    """Signs leaves for as long as each kind of party is given."""

    authority: Authority = field(repr=False)
    lifetime: Callable[[Kind], timedelta]
    clock: Clock

    @classmethod
    def load(
        cls, folder: Path, passphrase_file: Path | None, lifetime: Callable[[Kind], timedelta], clock: Clock
    ) -> Self:
        """Read the authority in `folder`.

        Raises `AuthorityLocked`, and `certs.authority.AuthorityRefused` for a folder that holds no authority.
        """
        try:
            passphrase = _first_line(passphrase_file) if passphrase_file else None
            return cls(Authority.load(folder, passphrase), lifetime, clock)
        except KeyRefused as error:
            raise AuthorityLocked(f"{folder}: {error}") from error
        except OSError as error:
            if passphrase_file is None or error.filename != str(passphrase_file):
                raise
            raise AuthorityLocked(
                f"the passphrase file {passphrase_file} cannot be read ({error.strerror}): make it readable for the "
                "Connector, or name another one in the settings"
            ) from error

    async def check(self) -> None:
        """Raise `Refusal` (NOT_READY) unless what it signs now would be valid."""
        certificate = self.authority.certificate
        if not certificate.not_valid_before_utc <= self.clock() < certificate.not_valid_after_utc:
            raise Refusal(Reason.REASON_NOT_READY, "the issuing authority's certificate is not valid now")

    @property
    def trust_domain(self) -> str:
        """The trust domain that it certifies identities of."""
        return self.authority.trust_domain

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The root certificates that parties are to trust."""
        return (self.authority.root,)

    @property
    def trust_bundle_pem(self) -> bytes:
        """The roots, PEM."""
        return certificates_to_pem(self.roots)

    @property
    def root_pins(self) -> tuple[bytes, ...]:
        """SHA-256 of each root's DER, in the bundle's order: what one-time tokens pin."""
        return tuple(bytes.fromhex(root_pin(root)) for root in self.roots)

    @property
    def sha256(self) -> bytes:
        """SHA-256 of its certificate's DER: what the ledger calls it by."""
        return self.authority.certificate.fingerprint(hashes.SHA256())

    @property
    def chain_pem(self) -> bytes:
        """Its certificate with those between it and the root, PEM: what follows a leaf on the wire."""
        return certificates_to_pem((self.authority.certificate, *self.authority.chain[:-1]))

    def issue(
        self, public_key: ec.EllipticCurvePublicKey, spiffe_id: SpiffeId, replaced: x509.Certificate | None = None
    ) -> IssuedCertificate:
        """Sign a leaf. The host names of a service's certificate come from the one that it replaces.

        Raises as `certs.issue.issue` does.
        """
        hosts = _hosts(replaced)
        dns_names = hosts.get_values_for_type(x509.DNSName)
        ip_addresses = hosts.get_values_for_type(x509.IPAddress)
        return issue(
            self.authority,
            public_key,
            spiffe_id,
            self.lifetime(spiffe_id.kind),
            self.clock,
            dns_names,
            [each for each in ip_addresses if not hasattr(each, "prefixlen")],
            server=bool(dns_names or ip_addresses),
        )


def _first_line(file: Path) -> bytes:
    return file.read_bytes().partition(b"\n")[0].rstrip(b"\r")


def _hosts(certificate: x509.Certificate | None) -> x509.SubjectAlternativeName:
    if certificate is None:
        return x509.SubjectAlternativeName([])
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

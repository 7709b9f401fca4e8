"""The issuing authority as the Connector holds it: what it signs with, and the roots that everybody is to trust."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.errors.v1.errors_pb2 import Reason

from certs.authority import Authority, certificates_to_pem
from certs.check import root_pin
from certs.clock import Clock
from certs.issue import IssuedCertificate, PlannedCertificate, plan, sign
from certs.keys import KeyRefused
from certs.policy import Profile
from certs.spiffe import Kind, SpiffeId
from mesh.errors import Refusal


class AuthorityLocked(Exception):
    """The authority's key cannot be opened: the passphrase is missing or wrong. The text says what to do."""


@dataclass(frozen=True)
class IssuingAuthority:
    """Plans and signs leaves, by the profile of each kind of party."""

    authority: Authority = field(repr=False)
    profiles: Mapping[Kind, Profile]
    clock: Clock

    @classmethod
    def load(cls, folder: Path, passphrase_file: Path | None, profiles: Mapping[Kind, Profile], clock: Clock) -> Self:
        """Read the authority in `folder`.

        Raises `AuthorityLocked`, and `certs.authority.AuthorityRefused` for a folder that holds no authority.
        """
        try:
            passphrase = _first_line(passphrase_file) if passphrase_file else None
            return cls(Authority.load(folder, passphrase), profiles, clock)
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

    @cached_property
    def trust_domain(self) -> str:
        """The trust domain that it certifies identities of."""
        return self.authority.trust_domain

    @cached_property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The root certificates that parties are to trust."""
        return (self.authority.root,)

    @cached_property
    def trust_bundle_pem(self) -> bytes:
        """The roots, PEM."""
        return certificates_to_pem(self.roots)

    @cached_property
    def root_pins(self) -> tuple[bytes, ...]:
        """SHA-256 of each root's DER, in the bundle's order: what one-time tokens pin."""
        return tuple(bytes.fromhex(root_pin(root)) for root in self.roots)

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of its certificate's DER: what the ledger calls it by."""
        return self.authority.certificate.fingerprint(hashes.SHA256())

    @cached_property
    def key_identifier(self) -> bytes:
        """Its subject key identifier (RFC 5280, 4.2.1.2): what the leaves that it signs name it by."""
        return self.authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    @property
    def chain_pem(self) -> bytes:
        """Its certificate with those between it and the root, PEM: what follows a leaf on the wire."""
        return self.authority.issuers_pem

    def plan(
        self,
        public_key: ec.EllipticCurvePublicKey,
        spiffe_id: SpiffeId,
        now: datetime,
        dns_names: Sequence[str] = (),
        ip_addresses: Sequence[IPv4Address | IPv6Address] = (),
    ) -> PlannedCertificate:
        """What is to be signed for a party; one that has host names or addresses serves under them.

        Raises as `certs.policy.Profile.draft` does.
        """
        server = bool(dns_names or ip_addresses)
        profile = self.profiles[spiffe_id.kind]
        return plan(profile.draft(self.authority, public_key, spiffe_id, now, dns_names, ip_addresses, server=server))

    def sign(self, planned: PlannedCertificate) -> IssuedCertificate:
        """Sign what was planned with this very authority; raises as `certs.issue.sign` does."""
        return sign(self.authority, planned)


def _first_line(file: Path) -> bytes:
    return file.read_bytes().partition(b"\n")[0].rstrip(b"\r")

"""What ties the embedded plane's own parties to it: authorities made at the first start, and the first identities.

The services and the administrator need certificates before there is a Connector to ask, so `moorage up` signs these
itself, with the issuing authority that the Connector uses too, and the Connector takes them into its ledger. From then
on each is renewed through the Connector. `moorage up` signs again only what has come to its end all the same: the
plane was stopped for long, or the machine slept, and without certificates nobody can reach the Connector.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509

from certs.authority import Authority, AuthorityRefused, certificates_to_pem, create_issuing, create_root
from certs.check import root_pin
from certs.clock import Clock
from certs.identity import Identity, IdentityRefused, LoadedIdentity
from certs.issue import issue
from certs.keys import KeyEncrypted, KeyRefused, WrongPassphrase, key_to_pem, new_key
from certs.spiffe import SpiffeId, SpiffeIdRefused
from cli.plane.home import SERVICES, Home, more_directors
from mesh.exits import Exit, Stopped

DEFAULT_TRUST_DOMAIN = "moorage.internal"
ADMIN = "admin"

SERVICE_LIFETIME = timedelta(days=1)
ADMIN_LIFETIME = timedelta(days=30)

LATEST = 0.9
"""After what part of its life an identity that nobody has renewed is signed anew."""


def read_passphrase(file: Path | None) -> bytes | None:
    """The first line of the passphrase file; None where none is named. Raises `Stopped` (PASSPHRASE)."""
    if file is None:
        return None
    try:
        passphrase = file.read_bytes().partition(b"\n")[0].rstrip(b"\r")
    except OSError as error:
        raise Stopped(
            Exit.PASSPHRASE, f"the passphrase file {file} cannot be read ({error.strerror}): name one that can"
        ) from error
    if not passphrase:
        raise Stopped(Exit.PASSPHRASE, f"the first line of {file} is empty: put the passphrase there")
    return passphrase


def open_authority(home: Home, trust_domain: str | None, passphrase: bytes | None, clock: Clock) -> Authority:
    """The issuing authority; at the first start, it and the root above it are made.

    Raises `Stopped`: PASSPHRASE; SERVICE_FAILED for authorities that are not whole; USAGE for a trust domain that is no
    such name, or another one than the plane has.
    """
    with _refusals_explained(home):
        if not home.issuing_authority.exists():
            _make_authorities(home, trust_domain or DEFAULT_TRUST_DOMAIN, passphrase, clock)
        authority = Authority.load(home.issuing_authority, passphrase)
    if trust_domain not in (None, authority.trust_domain):
        raise Stopped(
            Exit.USAGE,
            f"the plane in {home.root} has the trust domain {authority.trust_domain} for good: leave --trust-domain "
            "out, or choose another --home",
        )
    return authority


@dataclass(frozen=True)
class PlaneIdentities:
    """The identities of the three services and of the administrator, signed by `authority`.

    Services answer to the names `localhost` and `listen`. Of several Directors, each has an identity of its own, which
    it renews.
    """

    home: Home
    authority: Authority = field(repr=False)
    listen: IPv4Address | IPv6Address
    clock: Clock
    directors: int = 1

    @property
    def root_sha256(self) -> str:
        """The root's SHA-256, 64 lowercase hexadecimal digits."""
        return root_pin(self.authority.root)

    def sign_missing(self) -> list[str]:
        """Sign anew what is missing, unfit or past its time; returns whose identities were."""
        now = self.clock()
        names = (*SERVICES, *more_directors(self.directors), ADMIN)
        missing = [name for name in names if self._is_missing(name, now)]
        for name in missing:
            self._issue(name)
        return missing

    def _is_missing(self, name: str, now: datetime) -> bool:
        try:
            held = self._identity(name).load()
        except IdentityRefused:
            return True
        return held.lived(now) >= LATEST or not self._fits(name, held, now)

    def _fits(self, name: str, held: LoadedIdentity, now: datetime) -> bool:
        leaf, *issuers = x509.load_pem_x509_certificates(held.chain_pem)
        return (
            held.not_before <= now
            and held.spiffe_id == self._spiffe_id(name)
            and issuers[:1] == [self.authority.certificate]
            and held.bundle_pem == self._bundle_pem
            and (name == ADMIN or self.listen in _ip_addresses(leaf))
        )

    def _issue(self, name: str) -> None:
        key = new_key()
        serves = name != ADMIN
        issued = issue(
            self.authority,
            key.public_key(),
            self._spiffe_id(name),
            SERVICE_LIFETIME if serves else ADMIN_LIFETIME,
            self.clock,
            dns_names=["localhost"] if serves else [],
            ip_addresses=[self.listen] if serves else [],
            server=serves,
        )
        self._identity(name).write(key_to_pem(key), issued.chain_pem, self._bundle_pem)

    @property
    def _bundle_pem(self) -> bytes:
        return certificates_to_pem((self.authority.root,))

    def _identity(self, name: str) -> Identity:
        return Identity(self.home.identity(name), self.clock)

    def _spiffe_id(self, name: str) -> SpiffeId:
        trust_domain = self.authority.trust_domain
        if name == ADMIN:
            return SpiffeId.admin(trust_domain, ADMIN)
        return SpiffeId.service(trust_domain, "director" if name in more_directors(self.directors) else name)


def _make_authorities(home: Home, trust_domain: str, passphrase: bytes | None, clock: Clock) -> None:
    # Each folder appears whole or not at all. A start that was killed between the two goes on with the root it made.
    if home.root_authority.exists():
        root = Authority.load(home.root_authority, passphrase)
    else:
        try:
            root = create_root(trust_domain, clock)
        except SpiffeIdRefused as error:
            raise Stopped(Exit.USAGE, f"--trust-domain {trust_domain}: {error}") from error
        root.save(home.root_authority, passphrase)
    create_issuing(root, clock).save(home.issuing_authority, passphrase)


@contextmanager
def _refusals_explained(home: Home) -> Iterator[None]:
    authorities = home.root_authority.parent
    try:
        yield
    except KeyEncrypted as error:
        raise Stopped(
            Exit.PASSPHRASE,
            f"the authorities in {authorities} are encrypted: name the file with their passphrase by --passphrase-file",
        ) from error
    except WrongPassphrase as error:
        raise Stopped(
            Exit.PASSPHRASE,
            f"the passphrase does not open the authorities in {authorities}: give the one of the first start",
        ) from error
    except KeyRefused as error:
        raise Stopped(Exit.PASSPHRASE, f"the authorities in {authorities} cannot be opened: {error}") from error
    except AuthorityRefused as error:
        raise Stopped(
            Exit.SERVICE_FAILED,
            f"the authorities in {authorities} cannot be used: {error}; bring them back from a backup",
        ) from error


def _ip_addresses(leaf: x509.Certificate) -> list[object]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(names.get_values_for_type(x509.IPAddress))

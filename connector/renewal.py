"""Renewal: a party that shows its living certificate gets a new one for a new key, and for the same identity.

The old certificate works on until the new one is first used, or the grace is over. Whoever renews by it once more never
got what was issued before: that ends at once, so that one reply that was lost leaves no second certificate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.connector.v1.certificate_pb2 import CertificateOrigin
from moorage.errors.v1.errors_pb2 import Reason

from certs.keys import public_key_sha256
from certs.spiffe import Kind, SpiffeId
from connector.authority import IssuingAuthority
from connector.enrolment import requested_key
from connector.first_identities import take_in
from connector.ledger import Issued, Ledger, ToIssue
from connector.limits import RateLimits
from connector.registry import NOT_FOUND, DirectorAway, Registry
from connector.revocations import supersede
from connector.store import Action, Origin, Transaction
from connector.store.certificates import (
    LedgerEntry,
    insert_certificate,
    read_standing,
    successors,
)
from connector.store.locks import lock_identity
from connector.uses import record
from mesh import telemetry
from mesh.call import Caller
from mesh.errors import Refusal

Presented = Callable[[], x509.Certificate]
"""Reads the certificate that a caller shows. Few renewals look into it: the ledger has it, too."""

_log = telemetry.logger("renewal")


@dataclass(frozen=True)
class Renewal:
    """Gives parties new certificates for the ones that they hold."""

    ledger: Ledger
    registry: Registry
    limits: RateLimits

    async def renew(self, caller: Caller, presented: Presented, csr_der: bytes, origin: Origin) -> Issued:
        """A new certificate for the caller's own identity. `presented()` is the certificate that it calls with.

        Raises `Refusal`: RATE_LIMITED, CSR_REFUSED, also for a key that is certified already, IDENTITY_UNKNOWN for an
        Application or Runtime that is no longer registered, and CERTIFICATE_REVOKED.
        """
        self.limits.take("identity", caller.uri)
        public_key = requested_key(csr_der)
        if caller.kind in NOT_FOUND and not self.registry.knew(caller.spiffe_id):
            await self._check_registered(caller.spiffe_id)
        now = self.ledger.clock()
        draft = self.ledger.draft(_renewed(caller, presented, public_key), now)
        issued = await self.ledger.issue(self._plan, Action.RENEWED, origin, draft, caller, presented, now)
        if issued is None:
            raise _revoked(caller)
        return issued

    async def _check_registered(self, spiffe_id: SpiffeId) -> None:
        try:
            known = await self.registry.knows(spiffe_id)
        except DirectorAway:
            # A party must not lose its certificate because the Director is down for a while.
            _log.warning("renewed without asking the director", spiffe_id=str(spiffe_id))
            return
        if not known:
            raise Refusal(Reason.REASON_IDENTITY_UNKNOWN, f"{spiffe_id} is no longer registered")

    def _plan(
        self, tx: Transaction, draft: LedgerEntry, caller: Caller, presented: Presented, now: datetime
    ) -> LedgerEntry:
        lock_identity(tx, caller.uri)
        key_sha256 = draft.public_key_sha256
        standing = read_standing(tx, caller.serial, caller.uri, key_sha256, now)
        held = standing.held
        if (held and held.revoked) or standing.is_banned:
            raise _revoked(caller)
        held_key = held.public_key_sha256 if held else public_key_sha256(presented().public_key())
        if key_sha256 == held_key or standing.is_key_certified:
            raise Refusal(
                Reason.REASON_CSR_REFUSED, "the key of the CSR has a certificate already: make a new key", field="csr"
            )
        if held is None:
            _take_in(tx, self.ledger.authority, presented(), now)
        if held is None or held.first_use_time is None:
            record(tx, [caller.serial], now)
        if standing.has_successors:
            unused = [each.serial_number for each in successors(tx, caller.serial) if not each.first_use_time]
            supersede(tx, now, unused)
        insert_certificate(tx, draft)
        return draft


def _renewed(caller: Caller, presented: Presented, public_key: ec.EllipticCurvePublicKey) -> ToIssue:
    dns_names, ip_addresses = hosts(presented()) if caller.kind is Kind.SERVICE else ((), ())
    return ToIssue(
        spiffe_id=caller.spiffe_id,
        public_key=public_key,
        origin=CertificateOrigin.CERTIFICATE_ORIGIN_RENEWED,
        dns_names=dns_names,
        ip_addresses=ip_addresses,
        replaces_serial=caller.serial,
    )


def _revoked(caller: Caller) -> Refusal:
    return Refusal(Reason.REASON_CERTIFICATE_REVOKED, f"certificate {caller.serial} no longer counts")


def _take_in(tx: Transaction, authority: IssuingAuthority, presented: x509.Certificate, now: datetime) -> None:
    """Have a certificate in the ledger that is to be replaced: what is not there could not be superseded."""
    issuer = presented.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if issuer == authority.key_identifier:  # its signature was looked at when the connection was made
        take_in(tx, presented, authority.sha256, now)


def hosts(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[IPv4Address | IPv6Address, ...]]:
    """The host names of a service, and its addresses: its next certificate keeps them."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return (
        tuple(names.get_values_for_type(x509.DNSName)),
        tuple(each for each in addresses if isinstance(each, IPv4Address | IPv6Address)),
    )

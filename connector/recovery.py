"""Recovery: a party whose certificate expired while it slept gets another one, for the very key that it has.

It is off unless the operator has set a window. That the key is at hand is the proof; which of the conditions a party
misses is not told, but to the audit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import CertificateOrigin
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason

from certs.check import serial_hex
from certs.keys import public_key_sha256
from certs.spiffe import SpiffeId
from connector.enrolment import requested_key
from connector.ledger import Issued, Ledger, ToIssue
from connector.limits import RateLimits
from connector.registry import NOT_FOUND, DirectorAway, Registry
from connector.renewal import hosts
from connector.revocations import supersede
from connector.store import Action, Origin, Transaction, record
from connector.store.certificates import (
    LedgerEntry,
    find_certificate,
    insert_certificate,
    issued_since,
    successors,
)
from connector.store.identities import is_banned
from connector.store.locks import lock_identity
from connector.tokens import director_away
from mesh import telemetry
from mesh.errors import Refusal

_log = telemetry.logger("recovery")


@dataclass(frozen=True)
class Recovery:
    """Gives parties whose certificate expired another one."""

    ledger: Ledger
    registry: Registry
    limits: RateLimits
    window: timedelta
    """For how long after its end a certificate can be recovered; nothing for never."""

    async def recover(self, certificate_pem: str, csr_der: bytes, origin: Origin) -> Issued:
        """A certificate for the identity and the key of the one that expired; the same again while it lives.

        Raises `Refusal`: RATE_LIMITED, CSR_REFUSED, also for another key than the certificate's, RECOVERY_REFUSED, and
        DEPENDENCY_UNAVAILABLE while the Director does not say whether the party exists.
        """
        self.limits.take("address", origin.address)
        expired = _leaf(certificate_pem)
        public_key = requested_key(csr_der)
        if public_key_sha256(public_key) != public_key_sha256(expired.public_key()):
            raise Refusal(Reason.REASON_CSR_REFUSED, "the CSR is not for the certificate's key", field="csr")
        entry = await self._in_ledger(expired, origin)
        self.limits.take("identity", entry.spiffe_id)
        if not await self._is_registered(SpiffeId.parse(entry.spiffe_id)):
            await self.ledger.database.write(_record_refusal, entry, "not registered", self.ledger.clock(), origin)
            raise _refused()
        now = self.ledger.clock()
        draft = self.ledger.draft(_recovered(entry, expired, public_key), now)
        issued = await self.ledger.issue(self._plan, Action.RECOVERED, origin, draft, entry.serial_number, now, origin)
        if issued is None:
            raise _refused()
        return issued

    async def _in_ledger(self, expired: x509.Certificate, origin: Origin) -> LedgerEntry:
        """What the ledger has of it. Anybody can make up others, and must not fill the audit: the log has them."""
        entry = await self.ledger.database.glance(find_certificate, serial_hex(expired)) if self.window else None
        if entry is None or entry.certificate_der != expired.public_bytes(Encoding.DER):
            _log.warning("recovery refused", address=origin.address, request_id=origin.request_id)
            raise _refused()
        return entry

    async def _is_registered(self, spiffe_id: SpiffeId) -> bool:
        if spiffe_id.kind not in NOT_FOUND:
            return True
        try:
            return await self.registry.knows(spiffe_id)
        except DirectorAway as error:
            raise director_away() from error

    def _plan(
        self, tx: Transaction, draft: LedgerEntry, serial_number: str, now: datetime, origin: Origin
    ) -> LedgerEntry | None:
        lock_identity(tx, draft.spiffe_id)
        entry = find_certificate(tx, serial_number)
        if entry is None:
            return None
        for each in successors(tx, entry.serial_number):
            if self._is_recovered(each, now) and not is_banned(tx, entry.spiffe_id):
                return each
        why = self._why_not(tx, entry, now)
        if why:
            _record_refusal(tx, entry, why, now, origin)
            return None
        # What was issued on its strength and never used was never received.
        supersede(tx, now, [each.serial_number for each in successors(tx, entry.serial_number)])
        insert_certificate(tx, draft)
        return draft

    def _is_recovered(self, successor: LedgerEntry, now: datetime) -> bool:
        """Whether this is what the certificate was recovered by, and lives; or the plan of it, and can be completed."""
        if successor.origin != CertificateOrigin.CERTIFICATE_ORIGIN_RECOVERED or successor.not_after <= now:
            return False
        return self.ledger.can_complete(successor, now) if successor.planned else not successor.revoked

    def _why_not(self, tx: Transaction, entry: LedgerEntry, now: datetime) -> str:
        """Which condition it misses; empty for none."""
        if entry.revoked:
            return "revoked"
        if is_banned(tx, entry.spiffe_id):
            return "banned"
        if now < entry.not_after:
            return "not expired"
        if now >= entry.not_after + self.window:
            return "too late"
        if not all(_never_received(each, entry) for each in issued_since(tx, entry)):
            return "not the newest"
        return ""


def _recovered(entry: LedgerEntry, expired: x509.Certificate, public_key: ec.EllipticCurvePublicKey) -> ToIssue:
    dns_names, ip_addresses = hosts(expired)
    return ToIssue(
        spiffe_id=SpiffeId.parse(entry.spiffe_id),
        public_key=public_key,
        origin=CertificateOrigin.CERTIFICATE_ORIGIN_RECOVERED,
        dns_names=dns_names,
        ip_addresses=ip_addresses,
        replaces_serial=entry.serial_number,
    )


def _never_received(newer: LedgerEntry, entry: LedgerEntry) -> bool:
    """Whether a newer certificate was issued on the strength of this one, and lost on its way."""
    return (
        newer.replaces_serial == entry.serial_number
        and newer.first_use_time is None
        and newer.retire_time is None
        and newer.revocation_reason in (None, RevocationReason.REVOCATION_REASON_SUPERSEDED)
    )


def _leaf(certificate_pem: str) -> x509.Certificate:
    try:
        leaf = x509.load_pem_x509_certificates(certificate_pem.encode())[0]
        leaf.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise _refused() from error
    if leaf.serial_number <= 0:  # which cannot be written as the ledger writes it
        raise _refused()
    return leaf


def _record_refusal(tx: Transaction, entry: LedgerEntry, why: str, now: datetime, origin: Origin) -> None:
    record(
        tx,
        Action.RECOVERY_REFUSED,
        origin,
        now,
        spiffe_id=entry.spiffe_id,
        serial_number=entry.serial_number,
        detail=why,
    )


def _refused() -> Refusal:
    return Refusal(Reason.REASON_RECOVERY_REFUSED, "the certificate is not recovered")

"""Issuing on the record: what is to be signed is written into the ledger first, the certificate once it is signed.

A certificate leaves only after the second of these two commits. What ends in between leaves a plan: the ledger knows of
every signature that there can be, and whoever asks again for what was planned is given that, under the same serial.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Concatenate, ParamSpec

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import CertificateOrigin

from certs.clock import Clock
from certs.issue import IssuedCertificate, PlannedCertificate
from certs.spiffe import SpiffeId
from connector.authority import IssuingAuthority
from connector.store import Action, Origin, Transaction, record
from connector.store.certificates import (
    LedgerEntry,
    complete_certificate,
    find_certificate,
)
from mesh.database import Database

P = ParamSpec("P")


@dataclass(frozen=True)
class ToIssue:
    """What a certificate is to say, and on what strength."""

    spiffe_id: SpiffeId
    public_key: ec.EllipticCurvePublicKey
    origin: CertificateOrigin.ValueType
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    token_id: str | None = None
    replaces_serial: str | None = None


@dataclass(frozen=True)
class Issued:
    """A certificate that is in the ledger, with the chain that its holder shows."""

    entry: LedgerEntry
    chain_pem: bytes
    """The leaf, then its issuing authority's chain below the root."""


@dataclass(frozen=True)
class Ledger:
    """Issues certificates, each on the record."""

    database: Database
    authority: IssuingAuthority
    clock: Clock

    async def issue(
        self,
        decide: Callable[Concatenate[Transaction, P], LedgerEntry | None],
        action: Action,
        origin: Origin,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Issued | None:
        """Run the unit `decide(tx, ...)`, which writes a draft into the ledger or finds what is there; give it out.

        None where it decides upon none, and where the plan was revoked before it could be signed: that never left.
        The audit has it as `action`.
        """
        entry = await self.database.write_grouped(decide, *args, **kwargs)
        if entry is None:
            return None
        if not entry.planned:
            return _found(entry)
        # Here and not on a thread: to hand it over and back costs more than to sign. Never within a transaction.
        signed = self._signed(entry)
        now = self.clock()
        if await self.database.write_grouped(_complete, entry, signed.der, action, origin, now):
            return Issued(replace(entry, certificate_der=signed.der, planned_tbs=None), signed.chain_pem)
        # Somebody who asked for the same was faster, whose signature is the one that counts; or it was revoked.
        there = await self.database.read(find_certificate, entry.serial_number)
        return _found(there) if there and not there.planned and not there.revoked else None

    def draft(self, asked: ToIssue, now: datetime) -> LedgerEntry:
        """What is to be signed, for a unit to write into the ledger (`insert_certificate`), which knows the authority.

        Raises as `certs.policy.Profile.draft` does.
        """
        planned = self.authority.plan(asked.public_key, asked.spiffe_id, now, asked.dns_names, asked.ip_addresses)
        return LedgerEntry(
            serial_number=planned.serial_hex,
            spiffe_id=str(asked.spiffe_id),
            public_key_sha256=planned.public_key_sha256,
            certificate_der=b"",
            authority_sha256=self.authority.sha256,
            not_before=planned.not_before,
            not_after=planned.not_after,
            issue_time=now,
            origin=asked.origin,
            token_id=asked.token_id,
            replaces_serial=asked.replaces_serial,
            planned_tbs=planned.tbs,
            authority_chain_pem=self.authority.chain_pem,
        )

    def can_complete(self, entry: LedgerEntry, now: datetime) -> bool:
        """Whether a plan can be signed still, and be of use."""
        return entry.authority_sha256 == self.authority.sha256 and now < entry.not_after and not entry.revoked

    def _signed(self, entry: LedgerEntry) -> IssuedCertificate:
        if entry.planned_tbs is None:
            raise ValueError(f"certificate {entry.serial_number} is not to be signed")
        planned = PlannedCertificate(
            tbs=entry.planned_tbs,
            serial_hex=entry.serial_number,
            spiffe_id=SpiffeId.parse(entry.spiffe_id),
            public_key_sha256=entry.public_key_sha256,
            not_before=entry.not_before,
            not_after=entry.not_after,
        )
        return self.authority.sign(planned)


def _found(entry: LedgerEntry) -> Issued:
    leaf = x509.load_der_x509_certificate(entry.certificate_der)
    return Issued(entry, leaf.public_bytes(Encoding.PEM) + entry.authority_chain_pem)


def _complete(
    tx: Transaction, planned: LedgerEntry, certificate_der: bytes, action: Action, origin: Origin, now: datetime
) -> bool:
    if not complete_certificate(tx, planned.serial_number, certificate_der):
        return False
    record(
        tx,
        action,
        origin,
        now,
        spiffe_id=planned.spiffe_id,
        token_id=planned.token_id,
        serial_number=planned.serial_number,
    )
    return True

"""Issuing on the record: a certificate is signed and written into the ledger in one transaction, or not at all."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.check import serial_hex
from certs.keys import public_key_sha256
from certs.spiffe import SpiffeId
from connector import store
from connector.authority import IssuingAuthority
from connector.store import LedgerEntry, Transaction


@dataclass(frozen=True)
class Issued:
    """A certificate that is in the ledger, with the chain that its holder shows."""

    entry: LedgerEntry
    chain_pem: bytes
    """The leaf, then its issuing authority's chain below the root."""


def issue(
    tx: Transaction,
    authority: IssuingAuthority,
    public_key: ec.EllipticCurvePublicKey,
    spiffe_id: SpiffeId,
    now: datetime,
    *,
    token_id: str | None = None,
    replaces: x509.Certificate | None = None,
) -> Issued:
    """Sign a certificate and write it into the ledger. It may leave once the transaction has committed.

    The ledger knows the authority: see `store.record_authority`.
    """
    certificate = authority.issue(public_key, spiffe_id, replaces)
    entry = LedgerEntry(
        serial_number=certificate.serial_hex,
        spiffe_id=str(spiffe_id),
        public_key_sha256=public_key_sha256(public_key),
        certificate_der=certificate.certificate.public_bytes(Encoding.DER),
        authority_sha256=authority.sha256,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        issue_time=now,
        token_id=token_id,
        replaces_serial=serial_hex(replaces) if replaces else None,
    )
    store.insert_certificate(tx, entry)
    return Issued(entry, certificate.chain_pem)


def issued_for_token(tx: Transaction, token_id: str) -> Issued:
    """The certificate that a used token earned, as it left the first time."""
    entry, authority_chain_pem = store.certificate_of_token(tx, token_id)
    leaf = x509.load_der_x509_certificate(entry.certificate_der)
    return Issued(entry, leaf.public_bytes(Encoding.PEM) + authority_chain_pem)

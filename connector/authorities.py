"""The issuing authorities of the ledger at the start of an instance: what is known of each, and which still count."""

from collections.abc import Collection
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from certs.check import root_pin
from connector.authority import IssuingAuthority
from connector.store import Transaction
from connector.store.authorities import (
    StoredAuthority,
    all_authorities,
    describe_authority,
    record_authority,
    retire,
)
from connector.store.revocations import Entry, Kind, append
from mesh.exits import Exit, Stopped


def retired_hashes(texts: Collection[str], own: IssuingAuthority) -> frozenset[bytes]:
    """The setting `retired_authorities`, read; raises `Stopped` for what is no SHA-256, and for what is in use."""
    try:
        hashes = frozenset(bytes.fromhex(each.replace(":", "")) for each in texts)
    except ValueError:
        hashes = frozenset({b""})
    if any(len(each) != _SHA256_BYTES for each in hashes):
        raise Stopped(
            Exit.SERVICE_FAILED, "retired_authorities: each is the SHA-256 of a certificate, 64 hexadecimal digits"
        )
    if hashes & {own.sha256, *own.root_pins}:
        raise Stopped(
            Exit.SERVICE_FAILED,
            "retired_authorities names the very authority that this Connector issues with, or its root: give it "
            "another issuing_authority first",
        )
    return hashes


def settle_authorities(tx: Transaction, own: IssuingAuthority, retired: frozenset[bytes], now: datetime) -> None:
    """Note the authority in use, fill in what a release before did not note, and have the retired ones not count.

    Every service is told where this changes which of them are live.
    """
    changed = record_authority(tx, own.sha256, own.chain_pem)
    for each in all_authorities(tx):
        if not (each.key_identifier and each.root_sha256):
            changed |= _describe(tx, each, own)
    ended = [
        each.authority_sha256 for each in all_authorities(tx) if {each.authority_sha256, each.root_sha256} & retired
    ]
    if retire(tx, ended, now) or changed:
        append(tx, now, [Entry(Kind.AUTHORITIES)])


_SHA256_BYTES = 32


def _describe(tx: Transaction, stored: StoredAuthority, own: IssuingAuthority) -> bool:
    """Note what is in the authority's certificate; says whether that was not known before."""
    certificate = x509.load_pem_x509_certificates(stored.chain_pem)[0]
    key_identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    root = next((root for root in own.roots if _is_under(certificate, root)), None)
    describe_authority(
        tx,
        stored.authority_sha256,
        certificate.public_bytes(Encoding.DER),
        key_identifier,
        bytes.fromhex(root_pin(root)) if root else None,
        certificate.not_valid_after_utc,
    )
    return not stored.key_identifier


def _is_under(authority: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        authority.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True

"""Certificates that were made outside of the ledger, with the issuing authority, before there was a Connector.

They are taken into it, so that they can be listed, superseded and revoked as all others are.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import CertificateOrigin

from certs.authority import CLOCK_SKEW
from certs.check import SvidRefused, check_svid, serial_hex
from certs.keys import public_key_sha256
from connector.store import Transaction
from connector.store.authorities import all_authorities
from connector.store.certificates import LedgerEntry, find_certificate, insert_certificate
from connector.store.locks import lock_identity
from mesh import telemetry
from mesh.exits import Exit, Stopped

_log = telemetry.logger("ledger")


def read_first_identities(files: Sequence[str]) -> list[x509.Certificate]:
    """The leaves in these PEM files; raises `Stopped` for one that cannot be read, or holds none."""
    leaves = []
    for file in files:
        try:
            leaves.append(x509.load_pem_x509_certificates(Path(file).read_bytes())[0])
        except (OSError, ValueError) as error:
            raise Stopped(
                Exit.SERVICE_FAILED, f"first_identities: no certificate in PEM can be read from {file}"
            ) from error
    return leaves


def take_in_first(tx: Transaction, leaves: Sequence[x509.Certificate], now: datetime) -> None:
    """Take those of these leaves into the ledger that it does not have, and that an authority of it signed."""
    authorities = [
        (each.authority_sha256, x509.load_der_x509_certificate(each.certificate_der))
        for each in all_authorities(tx)
        if each.certificate_der
    ]
    for leaf in leaves:
        signer = next((sha256 for sha256, authority in authorities if _is_signed_by(leaf, authority)), None)
        if signer is None:
            _log.warning("a first identity is not of this plane", serial=serial_hex(leaf))
        else:
            lock_identity(tx, str(check_svid(leaf)))
            take_in(tx, leaf, signer, now)


def take_in(tx: Transaction, leaf: x509.Certificate, authority_sha256: bytes, now: datetime) -> None:
    """Write a leaf that an authority of the ledger signed into it, unless it is there already.

    The unit holds the lock of its identity.
    """
    serial_number = serial_hex(leaf)
    if find_certificate(tx, serial_number) is not None:
        return
    entry = LedgerEntry(
        serial_number=serial_number,
        spiffe_id=str(check_svid(leaf)),
        public_key_sha256=public_key_sha256(leaf.public_key()),
        certificate_der=leaf.public_bytes(Encoding.DER),
        authority_sha256=authority_sha256,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issue_time=min(leaf.not_valid_before_utc + CLOCK_SKEW, now),
        origin=CertificateOrigin.CERTIFICATE_ORIGIN_BOOTSTRAPPED,
    )
    insert_certificate(tx, entry)
    _log.info("taken into the ledger", serial=serial_number, spiffe_id=entry.spiffe_id)


def _is_signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        check_svid(leaf)
        leaf.verify_directly_issued_by(authority)
    except (SvidRefused, ValueError, TypeError, InvalidSignature):
        return False
    return True

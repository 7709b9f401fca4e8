"""The ledger as administrators read it."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.certificate_pb2 import (
    Certificate,
    CertificateState,
    GetCertificateRequest,
    GetCertificateResponse,
    ListCertificatesRequest,
    ListCertificatesResponse,
)
from moorage.connector.v1.revocation_pb2 import RevocationReason

from connector.revocations import not_found
from connector.store import Transaction
from connector.store.certificates import (
    LedgerEntry,
    find_certificate,
    page_of_certificates,
    place_of_certificate,
)
from mesh.paging import read_page


def get_certificate(tx: Transaction, request: GetCertificateRequest, now: datetime) -> GetCertificateResponse:
    """Read a certificate; raises `Refusal` (CERTIFICATE_NOT_FOUND)."""
    return GetCertificateResponse(certificate=read_certificate(tx, request.serial_number, now))


def list_certificates(tx: Transaction, request: ListCertificatesRequest, now: datetime) -> ListCertificatesResponse:
    """Read a page of certificates, those issued last first; raises `Refusal` (PAGE_TOKEN_INVALID)."""
    expire_after = _time(request.expire_after) if request.HasField("expire_after") else None
    expire_before = _time(request.expire_before) if request.HasField("expire_before") else None
    page = read_page(
        request,
        lambda after, limit: page_of_certificates(
            tx, request.spiffe_id, request.states, expire_after, expire_before, now, after, limit
        ),
        place_of_certificate,
        types=(int, str),
    )
    return ListCertificatesResponse(
        certificates=[_message(each, now) for each in page.rows], next_page_token=page.next_page_token
    )


def read_certificate(tx: Transaction, serial_number: str, now: datetime) -> Certificate:
    """One certificate of the ledger, whole; raises `Refusal` (CERTIFICATE_NOT_FOUND)."""
    entry = find_certificate(tx, serial_number)
    if entry is None:
        raise not_found(serial_number)
    message = _message(entry, now)
    if not entry.planned:
        leaf = x509.load_der_x509_certificate(entry.certificate_der)
        message.certificate_pem = leaf.public_bytes(Encoding.PEM).decode()
    return message


def _message(entry: LedgerEntry, now: datetime) -> Certificate:
    message = Certificate(
        serial_number=entry.serial_number,
        spiffe_id=entry.spiffe_id,
        state=entry.state(now),
        origin=entry.origin,
        not_before=_timestamp(entry.not_before),
        not_after=_timestamp(entry.not_after),
        issue_time=_timestamp(entry.issue_time),
        public_key_sha256=entry.public_key_sha256.hex(),
        authority_sha256=entry.authority_sha256.hex(),
        token_id=entry.token_id or "",
        replaces_serial=entry.replaces_serial or "",
    )
    if entry.first_use_time:
        message.first_use_time.FromDatetime(entry.first_use_time)
    if message.state in _ENDED:
        ended = entry.revoke_time or entry.retire_time
        if ended:
            message.revoke_time.FromDatetime(ended)
        message.revocation_reason = entry.revocation_reason or RevocationReason.REVOCATION_REASON_UNSPECIFIED
        message.revoked_by = entry.revoked_by
        message.revocation_note = entry.revocation_note
    return message


_ENDED = (CertificateState.CERTIFICATE_STATE_REVOKED, CertificateState.CERTIFICATE_STATE_SUPERSEDED)


def _timestamp(time: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def _time(timestamp: Timestamp) -> datetime:
    # By arithmetic: the contract's rules let nanoseconds through that are none.
    return datetime.fromtimestamp(timestamp.seconds, UTC) + timedelta(microseconds=timestamp.nanos // 1000)

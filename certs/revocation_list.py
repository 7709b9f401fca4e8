"""Certificate revocation lists (RFC 5280, section 5): what an authority says of leaves that ended before their time.

A list is of version 2, complete and direct: one authority's word on the leaves that it signed itself. It carries the
authority's key identifier (5.2.1) and a number (5.2.3), and for each entry the reason, unless none was given (5.3.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority, AuthorityReason, AuthorityRefused, authority_key_identifier
from certs.errors import CertsError
from certs.keys import checked_public_key_type


class RevocationListReason(StrEnum):
    """Why no list was made."""

    BAD_NUMBER = auto()
    BAD_TIMES = auto()
    BAD_SERIAL_NUMBER = auto()
    SERIAL_NUMBER_TWICE = auto()
    UNKNOWN_REASON = auto()
    SELF_CHECK_FAILED = auto()


class RevocationListRefused(CertsError[RevocationListReason]):
    """What was asked for is no list by RFC 5280, or what was signed did not pass the check."""


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One certificate that no longer counts."""

    serial_hex: str
    """As `certs.check.serial_hex` writes it."""

    revoke_time: datetime
    """Since when, aware; a list has whole seconds."""

    reason: int = 0
    """The number that the reason has in RFC 5280, section 5.3.1; 0 where none was given. Those that a leaf can have:
    1 key compromise, 3 affiliation changed, 4 superseded, 5 cessation of operation, 9 privilege withdrawn."""


def build(
    authority: Authority, entries: Iterable[RevokedEntry], number: int, now: datetime, next_update: datetime
) -> bytes:
    """The list of `authority` in DER, as of `now`, in the order of the serial numbers.

    `number` is to be greater than that of any list that the authority signed before; `next_update` is when the next one
    will be there at the latest. Both times are aware and cut to whole seconds. It takes some 10 microseconds an entry.

    Raises `RevocationListRefused`, and `certs.authority.AuthorityRefused` for a root, which signs no leaves.
    """
    if authority.is_root:
        raise AuthorityRefused(
            AuthorityReason.NOT_AN_ISSUING_AUTHORITY, "a root signs no leaves, so it has no list of revoked ones"
        )
    if number < 0 or number.bit_length() > _MOST_BITS:
        raise RevocationListRefused(
            RevocationListReason.BAD_NUMBER, "the number of a list is not negative and has at most 20 octets"
        )
    now, next_update = now.replace(microsecond=0), next_update.replace(microsecond=0)
    if next_update <= now:
        raise RevocationListRefused(
            RevocationListReason.BAD_TIMES, f"the next list, {next_update.isoformat()}, does not come after this one"
        )
    # The entries go in with the rest: to add them one by one copies the list of them each time.
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=_revoked(entries))
    revocation_list = (
        builder.issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(next_update)
        .add_extension(authority_key_identifier(authority.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    der = revocation_list.public_bytes(Encoding.DER)
    _check_signed(der, authority)
    return der


_MOST_BITS = 159
"""What 20 octets of two's complement hold, for numbers of lists and of certificates (RFC 5280, 4.1.2.2 and 5.2.3)."""

_REASONS = {
    1: x509.ReasonFlags.key_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
}


def _revoked(entries: Iterable[RevokedEntry]) -> list[x509.RevokedCertificate]:
    by_serial: dict[int, RevokedEntry] = {}
    for entry in entries:
        serial = _serial(entry.serial_hex)
        if serial in by_serial:
            raise RevocationListRefused(
                RevocationListReason.SERIAL_NUMBER_TWICE, f"the certificate {entry.serial_hex} is there twice"
            )
        by_serial[serial] = entry
    return [_entry(serial, by_serial[serial]) for serial in sorted(by_serial)]


def _serial(serial_hex: str) -> int:
    try:
        serial = int.from_bytes(bytes.fromhex(serial_hex), "big")
    except ValueError:
        serial = 0
    if not 0 < serial.bit_length() <= _MOST_BITS:
        raise RevocationListRefused(
            RevocationListReason.BAD_SERIAL_NUMBER, f"{serial_hex!r} is not the serial number of a certificate"
        )
    return serial


def _entry(serial: int, entry: RevokedEntry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(serial).revocation_date(entry.revoke_time.replace(microsecond=0))
    if entry.reason:
        if entry.reason not in _REASONS:
            raise RevocationListRefused(
                RevocationListReason.UNKNOWN_REASON, f"{entry.reason} is no reason to revoke a leaf"
            )
        builder = builder.add_extension(x509.CRLReason(_REASONS[entry.reason]), critical=False)
    return builder.build()


def _check_signed(der: bytes, authority: Authority) -> None:
    # Read back from its bytes, as a reader will: a key in a device that signs wrongly is seen here.
    revocation_list = x509.load_der_x509_crl(der)
    if revocation_list.issuer != authority.certificate.subject or not revocation_list.is_signature_valid(
        checked_public_key_type(authority.certificate.public_key())
    ):
        raise RevocationListRefused(
            RevocationListReason.SELF_CHECK_FAILED, "a new revocation list is not signed by its authority"
        )

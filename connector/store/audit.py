"""The audit: who did what, and from where."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert

from connector.store.base import Transaction, to_micros
from connector.store.tables import audit
from mesh.database import Prepared


class Action(StrEnum):
    """What an audit event tells of."""

    TOKEN_ISSUED = "TOKEN_ISSUED"  # noqa: S105 - a name
    TOKEN_REFUSED = "TOKEN_REFUSED"  # noqa: S105 - a name
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105 - a name
    TOKEN_DELIVERED = "TOKEN_DELIVERED"  # noqa: S105 - a name
    ENROLLED = "ENROLLED"
    ENROLLED_AGAIN = "ENROLLED_AGAIN"
    RENEWED = "RENEWED"
    RECOVERED = "RECOVERED"
    RECOVERY_REFUSED = "RECOVERY_REFUSED"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"
    CERTIFICATE_SUPERSEDED = "CERTIFICATE_SUPERSEDED"
    IDENTITY_EVICTED = "IDENTITY_EVICTED"
    IDENTITY_BANNED = "IDENTITY_BANNED"
    IDENTITY_RESTORED = "IDENTITY_RESTORED"


@dataclass(frozen=True)
class Origin:
    """Where a call came from: what every audit event records beside its matter."""

    actor: str
    """SPIFFE ID; empty for a newcomer."""
    address: str
    request_id: str


def record(
    tx: Transaction,
    action: Action,
    origin: Origin,
    time: datetime,
    *,
    spiffe_id: str | None = None,
    token_id: str | None = None,
    serial_number: str | None = None,
    detail: str = "",
) -> None:
    """Write an audit event, in the transaction of what it tells of."""
    _INSERT.run(
        tx,
        {
            "time": to_micros(time),
            "action": action,
            "actor": origin.actor,
            "address": origin.address,
            "request_id": origin.request_id,
            "spiffe_id": spiffe_id,
            "token_id": token_id,
            "serial_number": serial_number,
            "detail": detail,
        },
    )


_INSERT = Prepared(insert(audit), [column.name for column in audit.c if column.name != "event_id"])

"""Certificates in the ledger as tests need them: rows, with nothing signed."""

from datetime import datetime, timedelta
from itertools import count

from sqlalchemy import insert, select

from connector.store import Transaction
from connector.store.base import to_micros
from connector.store.revocations import create_ledger
from connector.store.tables import authorities, certificates
from mesh.database import Database
from tests.unit.connector.plane import START

LEDGER = "00000000-0000-4000-8000-000000000001"
AUTHORITY, OTHER_AUTHORITY = bytes([7] * 32), bytes([8] * 32)
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)

_numbers = count(1)


async def begun(database: Database) -> Database:
    """The database with a ledger in it, and two authorities."""

    def begin(tx: Transaction) -> None:
        create_ledger(tx, LEDGER)
        for authority in (AUTHORITY, OTHER_AUTHORITY):
            tx.execute(
                insert(authorities).values(
                    authority_sha256=authority,
                    chain_pem=b"",
                    key_identifier=authority[:20],
                    not_after=to_micros(START + 365 * DAY),
                )
            )

    await database.write(begin)
    return database


async def certified(
    database: Database,
    spiffe_id: str,
    *,
    issue_time: datetime = START,
    life: timedelta = DAY,
    authority: bytes = AUTHORITY,
    planned: bool = False,
) -> str:
    """Adds a certificate; its serial number."""
    serial = f"{next(_numbers):040x}"

    def add(tx: Transaction) -> None:
        tx.execute(
            insert(certificates).values(
                serial_number=serial,
                spiffe_id=spiffe_id,
                public_key_sha256=bytes(32),
                certificate_der=b"" if planned else b"der",
                planned_tbs=b"tbs" if planned else None,
                authority_sha256=authority,
                not_before=to_micros(issue_time),
                not_after=to_micros(issue_time + life),
                issue_time=to_micros(issue_time),
            )
        )

    await database.write(add)
    return serial


async def reasons(database: Database) -> dict[str, int]:
    """Why each certificate that was revoked was."""
    query = select(certificates.c.serial_number, certificates.c.revocation_reason)
    rows = await database.read(lambda tx: tx.execute(query.where(certificates.c.revoke_time.is_not(None))).all())
    return {row.serial_number: row.revocation_reason for row in rows}

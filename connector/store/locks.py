"""Taking turns over one identity, for units that have to see what each other wrote."""

import hashlib

from sqlalchemy import func, select

from connector.store.base import Transaction

_SPACE = b"moorage.connector.identity\0"


def lock_identity(tx: Transaction, spiffe_id: str) -> None:
    """Wait until no other unit holds the lock of the identity, and hold it until this one ends.

    Nothing to do on SQLite, where one unit writes at a time.
    """
    if tx.dialect.name == "postgresql":
        digest = hashlib.sha256(_SPACE + spiffe_id.encode()).digest()
        tx.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], signed=True))))

"""First uses: a certificate that was renewed dies when the one that replaces it is first seen in use."""

from collections.abc import Collection
from datetime import datetime

from connector.revocations import supersede
from connector.store import Transaction
from connector.store.certificates import note_first_use, outlived


def record(tx: Transaction, serial_numbers: Collection[str], now: datetime) -> None:
    """Note which certificates were seen in use, and end those that they replace.

    What the ledger does not have, or has as used, changes nothing.
    """
    replaced = note_first_use(tx, serial_numbers, now)
    if replaced:
        supersede(tx, now, replaced)


def end_outlived(tx: Transaction, replaced_from: datetime, replaced_until: datetime, now: datetime) -> int:
    """End certificates that were replaced in an interval, though what replaces them was not used; says how many."""
    ended = outlived(tx, replaced_from, replaced_until, now)
    if ended:
        supersede(tx, now, ended)
    return len(ended)

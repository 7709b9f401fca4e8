"""Queries upon what was deleted, and whose identities are still to be revoked."""

from sqlalchemy import Connection, delete, insert, select

from director.store.tables import departures
from mesh.database import announce

TOPIC = "departures"
"""Announced when there is one more."""


def append(tx: Connection, kind: str, party_id: str, micros: int) -> None:
    """Note that a party of this kind, APPLICATION or RUNTIME, was deleted."""
    tx.execute(delete(departures).where(departures.c.party_id == party_id))
    tx.execute(insert(departures).values(party_id=party_id, kind=kind, delete_time=micros))
    announce(tx, TOPIC)


def waiting(tx: Connection, most: int) -> list[tuple[str, str]]:
    """The oldest, `most` of them, by their id and kind."""
    query = select(departures.c.party_id, departures.c.kind).order_by(departures.c.delete_time, departures.c.party_id)
    return [(row.party_id, row.kind) for row in tx.execute(query.limit(most))]


def settle(tx: Connection, party_id: str) -> None:
    """Forget one whose identity was revoked; there may be others to hand over."""
    tx.execute(delete(departures).where(departures.c.party_id == party_id))
    announce(tx, TOPIC)

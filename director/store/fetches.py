"""Queries upon the documents that are fetched: of each offer one at most, by the URL that it names."""

from typing import Any, NamedTuple

from moorage.director.v1.specification_pb2 import FetchState, SpecificationFormat
from sqlalchemy import Connection, delete, func, insert, select, update

from director.store.registry import Values
from director.store.tables import specification_fetches as fetches
from mesh.database import announce

TOPIC = "fetches"
"""Announced when there may be one more to fetch."""

_PENDING = FetchState.FETCH_STATE_PENDING


class Fetch(NamedTuple):
    """A fetch that is not settled."""

    offer_id: str
    fetch_id: str
    url: str
    format: SpecificationFormat.ValueType
    attempts: int


def ask(tx: Connection, row: Values) -> None:
    """Have the document of an offer fetched (a row of `specification_fetches`), in place of what was asked before."""
    drop(tx, row["offer_id"])
    tx.execute(insert(fetches).values(dict(row)))
    announce(tx, TOPIC)


def drop(tx: Connection, offer_id: str) -> bool:
    """Forget that the document of an offer is fetched; says whether it was."""
    dropped = tx.execute(delete(fetches).where(fetches.c.offer_id == offer_id)).rowcount > 0
    if dropped:
        announce(tx, TOPIC)
    return dropped


def waiting(tx: Connection, most: int) -> list[tuple[str, str, str]]:
    """Fetches that are not settled, of each Application the `most` oldest, in order.

    By the id of the fetch, of the offer and of the Application.
    """
    order = (fetches.c.create_time, fetches.c.fetch_id)
    number = func.row_number().over(partition_by=fetches.c.application_id, order_by=order)
    numbered = select(
        fetches.c.fetch_id,
        fetches.c.offer_id,
        fetches.c.application_id,
        fetches.c.create_time,
        number.label("number"),
    )
    oldest = numbered.where(fetches.c.state == _PENDING).subquery()
    query = select(oldest.c.fetch_id, oldest.c.offer_id, oldest.c.application_id).where(oldest.c.number <= most)
    return [(row[0], row[1], row[2]) for row in tx.execute(query.order_by(oldest.c.create_time, oldest.c.fetch_id))]


def find(tx: Connection, offer_id: str, fetch_id: str) -> Fetch | None:
    """A fetch; None where it was settled, or the offer has no fetch, or another one, by now."""
    query = select(*(fetches.c[name] for name in Fetch._fields)).where(_is(offer_id, fetch_id))
    row = tx.execute(query).one_or_none()
    return Fetch(*row) if row is not None else None


def attempted(tx: Connection, fetch: Fetch, values: Values) -> bool:
    """Note what came of an attempt at a fetch; says whether it still was as it was when the attempt began."""
    as_it_was = _is(fetch.offer_id, fetch.fetch_id) & (fetches.c.attempts == fetch.attempts)
    noted = tx.execute(update(fetches).where(as_it_was).values(dict(values))).rowcount > 0
    if noted:
        announce(tx, TOPIC)
    return noted


def _is(offer_id: str, fetch_id: str) -> Any:
    return (fetches.c.offer_id == offer_id) & (fetches.c.fetch_id == fetch_id) & (fetches.c.state == _PENDING)

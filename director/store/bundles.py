"""Queries upon what is in a bundle."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from director.store.registry import Registry, Values


def members_of(tx: Connection, members: Registry, bundle_id: str) -> Sequence[Values]:
    """Those of one kind that are in a bundle, ordered by name: the id, name and application of each."""
    table = members.table
    query = select(table.c[members.key], table.c.name, table.c.application_id)
    return [row._asdict() for row in tx.execute(query.where(table.c.bundle_id == bundle_id).order_by(table.c.name))]

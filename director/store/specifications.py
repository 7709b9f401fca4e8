"""Queries upon documents: each stored once, by its content, for as long as an offer has it."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, or_, select, tuple_, union, update

from director.store.tables import apis, event_apis, specifications

Key = tuple[str, int]
"""SHA-256 of a document's content, and its format."""


def keep(tx: Connection, document: dict[str, Any]) -> None:
    """Store a document (a row of `specifications`); of one that is there already, what was found in it now."""
    key = (specifications.c.sha256 == document["sha256"]) & (specifications.c.format == document["format"])
    found = {"state": document["state"], "problems": document["problems"]}
    if tx.execute(update(specifications).where(key).values(**found)).rowcount == 0:
        tx.execute(insert(specifications).values(**document))


def content_of(tx: Connection, key: Key) -> bytes:
    """The document itself, which is stored."""
    query = select(specifications.c.content)
    content: bytes = tx.execute(
        query.where(specifications.c.sha256 == key[0], specifications.c.format == key[1])
    ).scalar_one()
    return content


def content_offered(tx: Connection, application_id: str, sha256: str) -> bytes | None:
    """A document by its hash, if it describes anything that an application offers."""
    offered = (
        exists().where(
            table.c.application_id == application_id,
            table.c.specification_sha256 == specifications.c.sha256,
            table.c.specification_format == specifications.c.format,
        )
        for table in (apis, event_apis)
    )
    query = select(specifications.c.content).where(specifications.c.sha256 == sha256, or_(*offered)).limit(1)
    content: bytes | None = tx.execute(query).scalar()
    return content


def keys_of(tx: Connection, application_id: str) -> set[Key]:
    """The documents of all that an application offers."""
    query = union(
        *(
            select(table.c.specification_sha256, table.c.specification_format).where(
                table.c.application_id == application_id, table.c.specification_sha256.is_not(None)
            )
            for table in (apis, event_apis)
        )
    )
    return {(row[0], row[1]) for row in tx.execute(query)}


def drop_unused(tx: Connection, keys: Collection[Key]) -> None:
    """Remove those of the documents that no offer has any more."""
    if not keys:
        return
    query = delete(specifications).where(
        tuple_(specifications.c.sha256, specifications.c.format).in_(list(keys)),
        *(
            ~exists().where(
                table.c.specification_sha256 == specifications.c.sha256,
                table.c.specification_format == specifications.c.format,
            )
            for table in (apis, event_apis)
        ),
    )
    tx.execute(query)

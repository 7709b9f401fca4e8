"""Queries upon data keys, and upon all that is sealed under them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    tuple_,
    update,
)

from director.store.changes import lock_plane
from director.store.tables import credentials, data_keys, webhooks
from mesh.sealing import StoredKey, WrappedKey, header

ACTIVE, RETIRED = "ACTIVE", "RETIRED"


class SealedColumn(NamedTuple):
    """A column of sealed secrets, and the columns of the same row whose values make up the owner of each."""

    column: Column[Any]
    owner: tuple[Column[Any], ...]

    @property
    def name(self) -> str:
        """`TABLE.COLUMN`."""
        return f"{self.column.table.name}.{self.column.name}"


SEALED_COLUMNS: tuple[SealedColumn, ...] = (
    SealedColumn(webhooks.c.sealed_secret, (webhooks.c.application_id,)),
    SealedColumn(
        credentials.c.sealed, (credentials.c.application_id, credentials.c.target_id, credentials.c.runtime_id)
    ),
)
"""Everything that is sealed. What does not stand here is lost when the data key that it is sealed under is removed."""


class SealedValue(NamedTuple):
    """One sealed secret: the primary key of its row, its owner, and itself."""

    row: tuple[Any, ...]
    owner: str
    sealed: bytes


def owner_of(*ids: str) -> str:
    """The owner that a secret is sealed for whose `SealedColumn` names several columns, by their values."""
    return "/".join(ids)


def exist(tx: Connection) -> bool:
    """Whether the database has a place for data keys at all."""
    return inspect(tx).has_table(data_keys.name)


def active(tx: Connection) -> StoredKey | None:
    """The key that secrets are sealed under now."""
    return _stored(tx.execute(_ACTIVE).first())


def hold_active(tx: Connection) -> StoredKey | None:
    """The same, which stays so until the transaction ends: the plane's row is held, as every mutation holds it."""
    lock_plane(tx)
    return active(tx)


def find(tx: Connection, key_id: str) -> StoredKey | None:
    """The key of that id."""
    return _stored(tx.execute(_FIND, {"id": key_id}).first())


def stored(tx: Connection) -> list[StoredKey]:
    """All keys, in the order in which they were made."""
    rows = tx.execute(select(*_KEY).order_by(data_keys.c.create_time, data_keys.c.key_id))
    return [StoredKey(row[0], WrappedKey(row[1], row[2])) for row in rows]


def retired(tx: Connection) -> list[str]:
    """Ids of the keys that nothing more is sealed under."""
    query = select(data_keys.c.key_id).where(data_keys.c.state == RETIRED)
    return list(tx.execute(query.order_by(data_keys.c.create_time, data_keys.c.key_id)).scalars())


def make_active(tx: Connection, key: StoredKey, time: int) -> None:
    """Add a key, made at `time` (microseconds since the epoch), to be the active one from now on."""
    tx.execute(update(data_keys).where(data_keys.c.state == ACTIVE).values(state=RETIRED))
    wrapping = key.wrapping._asdict()
    tx.execute(insert(data_keys).values(key_id=key.key_id, state=ACTIVE, create_time=time, **wrapping))


def rewrap(tx: Connection, key: StoredKey, wrapping: WrappedKey) -> bool:
    """Store a key under another wrapping, unless it has got another one meanwhile; says whether it did."""
    same = (data_keys.c.key_id == key.key_id) & (data_keys.c.wrapped == key.wrapping.wrapped)
    return tx.execute(update(data_keys).where(same).values(wrapping._asdict())).rowcount > 0


def drop_unused(tx: Connection) -> list[str]:
    """Remove the retired keys that nothing is sealed under; their ids."""
    lock_plane(tx)
    unused = [key_id for key_id in retired(tx) if not any(_is_used(tx, each, key_id) for each in SEALED_COLUMNS)]
    if unused:
        tx.execute(delete(data_keys).where(data_keys.c.key_id.in_(unused)))
    return unused


def sealed_otherwise(
    tx: Connection, where: SealedColumn, key_id: str, after: tuple[Any, ...] | None, most: int
) -> list[SealedValue]:
    """Secrets that are not sealed under that key, in rows after that one in the order of the primary key."""
    row, width = _row(where), len(_row(where))
    query = select(*row, *where.owner, where.column).where(_beginning(where) != header(key_id))
    if after is not None:
        query = query.where(tuple_(*row) > tuple_(*map(literal, after)))
    found = tx.execute(query.order_by(*row).limit(most))
    return [SealedValue(tuple(each[:width]), owner_of(*each[width:-1]), each[-1]) for each in found]


def store_sealed(tx: Connection, where: SealedColumn, values: Sequence[tuple[SealedValue, bytes]]) -> None:
    """Store secrets as they are sealed now, each with what it was, unless that was replaced meanwhile."""
    if not values:
        return
    row = _row(where)
    is_it = where.column == bindparam("_was")
    for number, column in enumerate(row):
        is_it &= column == bindparam(f"_row_{number}")
    statement = update(where.column.table).where(is_it).values({where.column: bindparam("_sealed")})
    ids = ({f"_row_{number}": id for number, id in enumerate(value.row)} for value, _ in values)
    tx.execute(
        statement,
        [{**id, "_was": value.sealed, "_sealed": sealed} for id, (value, sealed) in zip(ids, values, strict=True)],
    )


_KEY = (data_keys.c.key_id, data_keys.c.provider_key_id, data_keys.c.wrapped)
_ACTIVE = select(*_KEY).where(data_keys.c.state == ACTIVE)
_FIND = select(*_KEY).where(data_keys.c.key_id == bindparam("id"))


def _stored(row: Any) -> StoredKey | None:
    return StoredKey(row[0], WrappedKey(row[1], row[2])) if row is not None else None


def _row(where: SealedColumn) -> tuple[Column[Any], ...]:
    return tuple(where.column.table.primary_key.columns)


def _beginning(where: SealedColumn) -> Any:
    return func.substr(where.column, 1, len(header("00" * 8)), type_=LargeBinary)


def _is_used(tx: Connection, where: SealedColumn, key_id: str) -> bool:
    query = select(literal(1)).where(_beginning(where) == header(key_id)).limit(1)
    return tx.execute(query).first() is not None

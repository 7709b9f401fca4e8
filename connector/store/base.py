"""What the Connector's tables and the statements upon them are made of."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, String, Text
from sqlalchemy.types import TypeEngine

Transaction = Connection

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""All tables of the service. Constraints are named, so that a migration can change each of them."""

ID = String(36)
SERIAL = String(40)

SPIFFE_ID: TypeEngine[Any] = Text().with_variant(Text(collation="C"), "postgresql")
"""Ordered by its bytes on PostgreSQL, as SQLite does, and not by the language of the database."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(time: datetime) -> int:
    """A time as the tables hold it."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """A time that the tables hold, in UTC."""
    return _EPOCH + micros * _MICROSECOND


def from_micros_if(micros: int | None) -> datetime | None:
    """A time that a row need not have."""
    return None if micros is None else from_micros(micros)

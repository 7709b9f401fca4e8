"""What the tables of the Director are made of."""

from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, String, Text
from sqlalchemy.types import TypeEngine

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


def _by_bytes(type: type[String], length: int | None = None) -> TypeEngine[Any]:
    """A text that PostgreSQL orders by its bytes, as SQLite does, and not by the language of the database."""
    return type(length).with_variant(type(length, collation="C"), "postgresql")


# Lists are ordered by these: an index upon one of them must have the order of the list.
ID = _by_bytes(String, 36)
NAME = _by_bytes(String, 63)
LABEL_KEY = _by_bytes(String, 317)
LABEL_VALUE = _by_bytes(String, 63)
LINE = _by_bytes(Text)

SHA256 = String(64)
ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only under this type

"""What the tables of the Director are made of."""

from sqlalchemy import BigInteger, Integer, MetaData, String

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
NAME = String(63)
SHA256 = String(64)
LABEL_KEY = String(317)
LABEL_VALUE = String(63)
ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only under this type

"""Small units of work."""

from sqlalchemy import Connection, text

from mesh.database import Limits, announce

PATIENT = Limits(connect=20, wait=20, statement=60, lock=60, unit=60)
"""Nothing of this ends in a test."""

TOPIC = "values"


def create(tx: Connection) -> None:
    tx.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
    tx.execute(text("CREATE TABLE child (parent INTEGER REFERENCES parent (id))"))


def insert(tx: Connection, value: int) -> int:
    tx.execute(text("INSERT INTO parent VALUES (:value)"), {"value": value})
    return value


def insert_and_announce(tx: Connection, value: int) -> int:
    announce(tx, TOPIC)
    return insert(tx, value)


def values(tx: Connection) -> list[int]:
    return list(tx.execute(text("SELECT id FROM parent ORDER BY id")).scalars())

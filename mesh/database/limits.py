"""How much of a PostgreSQL server one instance takes, and how long it waits for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Times are in seconds. SQLite has none of these."""

    connections: int = 12
    """Connections to the server, at most: a third each for units that write, read and glance. One more listens."""

    connect: float = 5.0
    """How long connecting may take."""

    wait: float = 5.0
    """How long a unit may wait for a connection while all are in use."""

    statement: float = 10.0
    """How long the server may work on one statement."""

    lock: float = 5.0
    """How long a statement may wait for a lock."""

    unit: float = 15.0
    """How long a unit may hold its connection: the end of waiting for a server that does not even say that it fails."""

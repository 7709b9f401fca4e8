"""A Connector for tests that send it much that is wrong, and all that it stores, to see whether that changed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from mesh.channel import open_pinned_channel
from tests.integration.connector.plane import Plane


@asynccontextmanager
async def lenient_plane(folder: Path) -> AsyncIterator[Plane]:
    """One that lets everybody ask as often as they like, and recovers what has expired: viewers' last for a second."""
    plane = Plane(folder)
    plane.settings |= {
        "enrolment_address_rate": "0",
        "identity_rate": "0",
        "viewer_lifetime": "1",
        "recovery_window": "3600",
    }
    try:
        await plane.start_director()
        await plane.start()
        yield plane
    finally:
        await plane.close()


def newcomers_channel(plane: Plane) -> grpc.aio.Channel:
    """A channel to where one needs no certificate."""
    return open_pinned_channel(plane.settings["enrolment_address"], plane.mint.root.chain_pem)


def state(plane: Plane) -> Mapping[str, Sequence[Sequence[object]]]:
    """Every row of every table that the Connector has, but for its audit, which tells of refusals as well."""
    tables = [row[0] for row in plane.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return {
        table: [tuple(row) for row in plane.rows(f"SELECT * FROM {table} ORDER BY rowid")]
        for table in tables
        if table != "audit" and not table.startswith("sqlite_")
    }

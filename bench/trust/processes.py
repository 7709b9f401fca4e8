"""The processes that are measured: one Connector on SQLite, and the bare server beside it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.processes import READY_WITHIN, NotReady
from mesh import telemetry
from tests.integration.connector.plane import Plane

FREELY = {"enrolment_address_rate": "0", "identity_rate": "0"}
"""Settings of a Connector that lets everybody ask as often as they like: all of the load is one address's."""


class _Everybody(set[str]):
    """Whoever is asked for is registered."""

    def __contains__(self, _: object) -> bool:
        return True


@asynccontextmanager
async def connector(home: Path) -> AsyncIterator[Plane]:
    """One Connector, with its ledger in a file on disk, and a Director's double that knows everybody."""
    telemetry.configure_logging("bench", "warning")  # the double's own
    await asyncio.to_thread(home.mkdir, parents=True)
    plane = Plane(home)
    plane.settings |= FREELY
    plane.director.known = _Everybody()
    try:
        await plane.start_director()
        await plane.start()
        yield plane
    finally:
        await plane.close()


@asynccontextmanager
async def floor(what: str, identity: Path, **options: str) -> AsyncIterator[str]:
    """The bare server; its address."""
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.trust.floor", what, str(identity), *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise NotReady("the bare server has no pipes")
    try:
        async with asyncio.timeout(READY_WITHIN):
            port = int(await process.stdout.readline())
        yield f"127.0.0.1:{port}"
    finally:
        process.stdin.close()
        await process.wait()

"""The agent's state for whoever is on the host: `status.json`, always whole."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import msgspec

from mesh import telemetry

SHORTEST_INTERVAL = 0.25
"""Seconds between two writings, at least; what changes in between is written together."""

_log = telemetry.logger("status")


class Counts(msgspec.Struct):
    """What happened since the agent started."""

    renewals: int = 0
    """Certificates that replaced another."""
    calls_ok: int = 0
    """Unary calls (reports and renewals) that were answered in the end."""
    calls_failed: int = 0
    """Unary calls that were refused, or given up after all their attempts."""
    attempts_failed: int = 0
    """Attempts of unary calls that failed, also where a later one did not."""
    streams_opened: int = 0
    """Configuration streams that the Director took."""
    snapshots: int = 0
    """Whole configurations received."""
    deltas: int = 0
    """Changes received."""


class Certificate(msgspec.Struct, frozen=True):
    """The certificate that the agent shows now."""

    serial: str
    not_after: datetime


class Failure(msgspec.Struct, frozen=True):
    """The latest revision, where it could not be applied."""

    revision: int
    message: str


class Status(msgspec.Struct):
    """What `status.json` holds."""

    runtime_id: str
    agent_version: str
    started_at: datetime
    """When the agent's process did; `counts` begin then."""
    state: str = "WAITING"
    """WAITING for a first configuration; APPLYING, APPLIED or FAILED of the latest."""
    revision: int | None = None
    """The revision that the Runtime runs; also while a newer one is applied or has failed."""
    content_sha256: str | None = None
    applied_at: datetime | None = None
    connected: bool = False
    """Whether a configuration stream is open."""
    failure: Failure | None = None
    certificate: Certificate | None = None
    counts: Counts = msgspec.field(default_factory=Counts)


class StatusFile:
    """Keeps the file at `path` as `status` is; call `changed` after changing it."""

    def __init__(self, path: Path, status: Status) -> None:
        self._path = path
        self._status = status
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Have the file written soon."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Write the file as often as there is reason to, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.write()
            await asyncio.sleep(SHORTEST_INTERVAL)

    def write(self) -> None:
        """Write the file now. It is not flushed to the disk: after a crash of the host it says nothing anyway."""
        temporary = self._path.with_name(f".{self._path.name}")
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self._status), indent=2) + b"\n")
            temporary.replace(self._path)
        except OSError as error:
            _log.warning("the status cannot be written", path=str(self._path), failure=error.strerror)

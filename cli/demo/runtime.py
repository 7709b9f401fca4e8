"""What the Runtime's agent says of itself, in the `status.json` of its home."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from cli.demo.report import StepFailed

_LOOK_EVERY = 0.002


class Counts(msgspec.Struct, frozen=True):
    """Since the agent's process started."""

    renewals: int = 0
    calls_failed: int = 0
    attempts_failed: int = 0
    streams_opened: int = 0
    snapshots: int = 0


class Certificate(msgspec.Struct, frozen=True):
    """The certificate that it shows now."""

    serial: str


class AgentStatus(msgspec.Struct, frozen=True):
    """One reading."""

    started_at: datetime
    state: str
    revision: int | None
    applied_at: datetime | None
    certificate: Certificate | None
    counts: Counts


def read_status(folder: Path) -> AgentStatus | None:
    """The agent's status; None where it has not written one yet."""
    try:
        return msgspec.json.decode((folder / "status.json").read_bytes(), type=AgentStatus)
    except FileNotFoundError:
        return None


async def wait_for_status(
    folder: Path, what: str, fits: Callable[[AgentStatus], bool], *, deadline: float
) -> AgentStatus:
    """The first reading that `fits`; raises `StepFailed`, naming `what`, after `deadline` seconds."""
    status: AgentStatus | None = None
    try:
        async with asyncio.timeout(deadline):
            while True:
                status = read_status(folder)
                if status is not None and fits(status):
                    return status
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError as error:
        raise StepFailed(f"{what} did not come within {deadline:g} s; the agent's last status: {status}") from error

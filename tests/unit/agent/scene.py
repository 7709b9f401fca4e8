"""An applier at work, with a hook and a plane that do what a test tells them to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from moorage.director.v1.configuration_pb2 import REPORT_STATE_APPLYING

from agent.applier import Applier
from agent.cache import Cache
from agent.configuration import Configuration
from agent.credentials import Credentials
from agent.disk import Disk
from agent.hook import Hook, HookFailed
from agent.outcome import Outcome
from mesh.backoff import Backoff
from tests.unit.agent.vault import Vault

AT = datetime(2030, 1, 1, tzinfo=UTC)


class HookDouble(Hook):
    """Takes everything but the revisions in `refused`; waits while `free` is cleared."""

    def __init__(self) -> None:
        super().__init__(("double",), 0, {})
        self.refused: set[int] = set()
        self.ran: list[int] = []
        self.entered = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def run(self, revision: int, folder: Path) -> None:
        self.ran.append(revision)
        self.entered.set()
        await self.free.wait()
        if revision in self.refused:
            raise HookFailed("the hook ended with status 3: no such listener")


@dataclass
class Scene:
    """An applier at work on a folder."""

    folder: Path
    applier: Applier
    hook: HookDouble
    vault: Vault
    outcomes: "asyncio.Queue[Outcome]" = field(default_factory=asyncio.Queue)

    async def settled(self) -> Outcome:
        """The next outcome that is not APPLYING."""
        while (outcome := await self.outcomes.get()).state == REPORT_STATE_APPLYING:
            pass
        return outcome

    async def apply(self, new: Configuration) -> Outcome:
        self.applier.offer(new)
        return await self.settled()


def opened_credentials(folder: Path, vault: Vault) -> Credentials:
    credentials = vault.credentials(folder / "credentials")
    credentials.open()
    return credentials


@asynccontextmanager
async def scene(
    folder: Path, disk: Disk | None = None, retries: Backoff | None = None, vault: Vault | None = None
) -> AsyncIterator[Scene]:
    cache, hook, outcomes = Cache(folder, disk or Disk()), HookDouble(), asyncio.Queue[Outcome]()
    vault = vault or Vault()
    credentials = opened_credentials(folder, vault)
    applier = Applier(cache, cache.open(), credentials, hook, lambda: AT, outcomes.put_nowait, retries)
    task = asyncio.create_task(applier.run())
    try:
        yield Scene(folder, applier, hook, vault, outcomes)
    finally:
        task.cancel()
        await asyncio.wait((task,))

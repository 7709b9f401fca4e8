"""What the embedded plane does for as long as it runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.plane import embedded

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Unreadable:
    """Identities that cannot be looked at the first time."""

    def __init__(self) -> None:
        self.looks = 0
        self.seen_again = asyncio.Event()

    def next_refresh(self) -> datetime:
        self.looks += 1
        if self.looks == 1:
            raise PermissionError(13, "Permission denied", "tls.key")
        self.seen_again.set()
        return NOW + timedelta(hours=1)


async def test_identities_that_cannot_be_read_are_told_of_and_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_RETRY_AFTER", timedelta(0))
    identities: Any = Unreadable()
    told: list[str] = []
    keeping = asyncio.create_task(embedded._keep_fresh(identities, lambda: NOW, told.append))
    async with asyncio.timeout(10):
        await identities.seen_again.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert keeping.cancelled()
    assert len(told) == 1
    assert "Permission denied" in told[0]

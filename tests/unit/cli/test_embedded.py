"""What the embedded plane does for as long as it runs."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from cli.plane import embedded


class Scripted:
    """Identities that are looked at as the test says: an error is raised, names are those that were signed anew."""

    def __init__(self, *looks: OSError | Sequence[str]) -> None:
        self._looks = list(looks)
        self.seen = threading.Event()

    def sign_missing(self) -> Sequence[str]:
        if not self._looks:
            self.seen.set()
            return []
        look = self._looks.pop(0)
        if isinstance(look, OSError):
            raise look
        return look


async def kept(monkeypatch: pytest.MonkeyPatch, *looks: OSError | Sequence[str]) -> tuple[list[str], int]:
    """What is told, and how often the Connector is to take certificates in, until the last look is over."""
    monkeypatch.setattr(embedded, "_LOOK_EVERY", timedelta(0))
    told: list[str] = []
    taken: list[None] = []
    identities: Any = Scripted(*looks)
    keeping = asyncio.create_task(embedded._keep_signed(identities, lambda: taken.append(None), told.append))
    assert await asyncio.to_thread(identities.seen.wait, 20)
    keeping.cancel()
    await asyncio.wait({keeping})
    assert keeping.cancelled()
    return told, len(taken)


async def test_identities_that_cannot_be_read_are_told_of_and_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told, taken = await kept(monkeypatch, PermissionError(13, "Permission denied", "tls.key"))
    assert len(told) == 1
    assert "Permission denied" in told[0]
    assert not taken


async def test_what_was_signed_anew_is_told_and_taken_into_the_ledger_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told, taken = await kept(monkeypatch, [], ["director", "connector"], [])
    assert len(told) == 1
    assert told[0].endswith("the certificates of director, connector")
    assert taken == 1

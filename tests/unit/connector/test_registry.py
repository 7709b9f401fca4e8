"""The registry in the Director, where the Director cannot even be asked."""

from datetime import timedelta
from pathlib import Path

import pytest

from certs.identity import Identity
from certs.spiffe import SpiffeId
from connector.registry import DirectorAway, DirectorRegistry
from mesh.channel import LiveChannel

RUNTIME = SpiffeId.runtime("moorage.test", "22222222-2222-4222-8222-222222222222")


async def test_a_connector_without_an_identity_to_ask_with_finds_the_director_away(tmp_path: Path) -> None:
    registry = DirectorRegistry(LiveChannel("127.0.0.1:1", Identity(tmp_path)), timedelta(seconds=1))
    with pytest.raises(DirectorAway):
        await registry.knows(RUNTIME)

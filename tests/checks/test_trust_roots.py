"""Trust, once a root is taken away: what it vouched for is gone, also where no handshake comes in between."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.experimental import session_cache
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from certs.check import root_pin
from certs.identity import Identity
from mesh.errors import Problem
from tests.integration.connector.plane import Plane
from tests.integration.director_registry.process import DirectorProcess
from tests.support.identities import Mint
from tests.support.wait import eventually

CONNECTION_AGE = 5.0
"""Seconds; by the setting."""


@pytest.mark.check("trust-22")
async def test_a_root_that_was_removed_is_gone_from_streams_connections_and_resumed_sessions(
    roots: "TwoRoots", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Director in the midst of it, which is not restarted."""
    old, new = roots.old.identity("viewer", "vic"), roots.new.identity("viewer", "ulf")
    roots.trust_both(old, new)
    sessions = Sessions(roots.director.settings["listen"], old)
    stream: Any = sessions.stub().Watch(HealthCheckRequest())
    await stream.read()
    assert await sessions.refusal() == ""
    connected = sessions.stub()
    await connected.Check(HealthCheckRequest())

    await roots.remove_the_old_one(monkeypatch)

    async with asyncio.timeout(20):
        assert await end_of(stream) == "AUTHORITY_REVOKED"
    assert await reason_of(connected) == "AUTHORITY_REVOKED"
    assert await sessions.refusal() == "AUTHORITY_REVOKED"
    assert await Sessions(roots.director.settings["listen"], new).refusal() == ""
    await sessions.close()


@pytest.mark.check("trust-22")
async def test_connections_from_before_a_root_was_removed_are_gone_within_the_connection_age(roots: "TwoRoots") -> None:
    """The next ones are refused in their handshake."""
    old = roots.old.identity("viewer", "vic")
    roots.trust_both(old)
    sessions = Sessions(roots.director.settings["listen"], old)
    channel = sessions.channel()
    await reason_of(HealthStub(channel))
    began = asyncio.get_running_loop().time()
    roots.trust_the_new_one_alone(roots.director_identity)

    async with asyncio.timeout(20):
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
    assert asyncio.get_running_loop().time() - began < CONNECTION_AGE * 1.1 + 1

    assert await reason_of(HealthStub(channel)) == "UNAVAILABLE"
    assert await sessions.refusal() == "UNAVAILABLE"
    await sessions.close()


class TwoRoots:
    """A Connector that moved from the authority under one root to that under another, and a Director."""

    def __init__(self, home: Path) -> None:
        self.connector, self.director = Plane(home), DirectorProcess(home)
        self.old, self.new = self.connector.mint, Mint(home / "new")
        self.new.issuing.save(home / "issuing-new")
        self._home = home
        self.director_identity = self.old.identity("service", "director")
        self._connector_identity = Identity(Path(self.connector.settings["identity"]))
        self.trust_both(self.director_identity, self._connector_identity)
        self.connector.settings |= {"director_address": self.director.settings["listen"]}
        self.director.settings |= {
            "identity": str(self.director_identity.folder),
            "connector_address": self.connector.settings["listen"],
            "connection_age": str(CONNECTION_AGE),
        }

    async def start(self) -> None:
        """Begin with the old root alone, then go over to the new one. What both vouch for counts."""
        await self.connector.start()
        await self.director.start()
        await self.connector.end(signal.SIGTERM)
        for name, identity in (("director", self.director_identity), ("connector", self._connector_identity)):
            self.new.identity("service", name, folder=identity.folder)
            self.trust_both(identity)
        self.connector.settings["issuing_authority"] = str(self._home / "issuing-new")
        await self.connector.start()

        async def both_count() -> bool:
            made = [each.identity("viewer", "bob") for each in (self.old, self.new)]
            self.trust_both(*made)
            asked = [Sessions(self.director.settings["listen"], each) for each in made]
            return [await each.refusal() for each in asked] == ["", ""]

        await eventually("certificates under both roots count", both_count)

    async def remove_the_old_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Restart the Connector with the old root retired."""
        await self.connector.end(signal.SIGTERM)
        monkeypatch.setenv("MOORAGE_CONNECTOR_RETIRED_AUTHORITIES", root_pin(self.old.root.certificate))
        await self.connector.start()

    async def close(self) -> None:
        await self.director.close()
        await self.connector.close()

    def trust_both(self, *identities: Identity) -> None:
        """Have them trust both roots."""
        self._trust(self.old.root.chain_pem + self.new.root.chain_pem, *identities)

    def trust_the_new_one_alone(self, *identities: Identity) -> None:
        """Have them trust only the new root."""
        self._trust(self.new.root.chain_pem, *identities)

    def _trust(self, bundle_pem: bytes, *identities: Identity) -> None:
        for each in identities:
            loaded = each.load()
            each.write(loaded.key_pem, loaded.chain_pem, bundle_pem)


class Sessions:
    """A party that resumes its TLS session with a service wherever it connects anew."""

    def __init__(self, address: str, identity: Identity) -> None:
        sessions: Any = session_cache
        self._cache = sessions.ssl_session_cache_lru(1)
        self._target = address.replace("127.0.0.1", "localhost")  # a session is for a name
        self._loaded = identity.load()
        self._channels: list[grpc.aio.Channel] = []

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        loaded = self._loaded
        credentials = grpc.ssl_channel_credentials(loaded.bundle_pem, loaded.key_pem, loaded.chain_pem)
        options = (("grpc.ssl_session_cache", self._cache), ("grpc.use_local_subchannel_pool", 1))
        self._channels.append(grpc.aio.secure_channel(self._target, credentials, options=options))
        return self._channels[-1]

    def stub(self) -> Any:
        """Calls over a connection of its own."""
        make: Any = HealthStub
        return make(self.channel())

    async def refusal(self) -> str:
        """Why a call over a new connection is refused; empty where it is answered."""
        return await reason_of(self.stub())

    async def close(self) -> None:
        for each in self._channels:
            await each.close()


@pytest.fixture
async def roots(tmp_path: Path) -> AsyncIterator[TwoRoots]:
    """Two roots that both count."""
    made = TwoRoots(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def end_of(stream: Any) -> str:
    """Why a stream is ended; empty where nothing is wrong."""
    try:
        while await stream.read() != grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return Problem.of(error).reason
    return ""


async def reason_of(stub: Any) -> str:
    """Why a call is refused; empty where it is answered."""
    try:
        await stub.Check(HealthCheckRequest(), timeout=20)
    except grpc.aio.AioRpcError as error:
        return Problem.of(error).reason or error.code().name
    return ""

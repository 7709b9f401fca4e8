"""Trust, once an identity is banned or evicted: what it gets, at every instance, until it is restored."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    Identity,
    IdentityState,
    RestoreIdentityRequest,
    RevocationAction,
    RevokeIdentityRequest,
    RevokeIdentityResponse,
)
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, DeleteApplicationRequest
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, DeleteRuntimeRequest, Runtime

from mesh.errors import Problem
from tests.integration.connector.plane import RUNTIME_ID
from tests.support.connectors import PATIENCE, Connectors
from tests.support.directors import Directors
from tests.support.identities import TRUST_DOMAIN
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually

RUNTIME = f"spiffe://{TRUST_DOMAIN}/runtime/{RUNTIME_ID}"
BAN, EVICT = RevocationAction.REVOCATION_ACTION_BAN, RevocationAction.REVOCATION_ACTION_EVICT
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
BANNED = IdentityState.IDENTITY_STATE_BANNED


@pytest.mark.check("trust-19")
async def test_a_banned_identity_gets_nothing_until_it_is_restored(connectors: Connectors, tmp_path: Path) -> None:
    token = await connectors.token()

    revoked = await revoke(connectors, BAN)

    assert (revoked.identity.state, revoked.revoked_tokens) == (BANNED, 1)
    for number in (0, 1):
        assert await refusal(connectors.token(number)) == "IDENTITY_BANNED"
        assert await refusal(connectors.enrol(number, token, tmp_path / "refused")) == "TOKEN_REFUSED"
    await connectors.connector(1).RestoreIdentity(RestoreIdentityRequest(spiffe_id=RUNTIME), timeout=PATIENCE)
    assert await refusal(connectors.enrol(0, token, tmp_path / "refused")) == "TOKEN_REFUSED"
    await connectors.enrol(1, await connectors.token(0), tmp_path / "runtime")


@pytest.mark.check("trust-19")
async def test_an_evicted_identity_pairs_again_with_a_new_token(connectors: Connectors, tmp_path: Path) -> None:
    old = await connectors.enrol(0, await connectors.token(), tmp_path / "old")
    token = await connectors.token()

    revoked = await revoke(connectors, EVICT)

    assert (revoked.revoked_certificates, revoked.revoked_tokens) == (1, 1)
    assert await refusal(connectors.enrol(1, token, tmp_path / "refused")) == "TOKEN_REFUSED"
    new = await connectors.enrol(1, await connectors.token(), tmp_path / "new")
    for number in (0, 1):
        await connectors.connector(number, new).GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)
        assert await refusal(connectors.renew(number, old, tmp_path / "refused")) == "CERTIFICATE_REVOKED"


@pytest.mark.check("trust-19")
async def test_a_certificate_of_a_banned_identity_stays_refused_once_it_is_restored(
    connectors: Connectors, tmp_path: Path
) -> None:
    identity = await connectors.enrol(0, await connectors.token(), tmp_path / "runtime")
    await revoke(connectors, BAN)
    await connectors.connector(0).RestoreIdentity(RestoreIdentityRequest(spiffe_id=RUNTIME), timeout=PATIENCE)

    for number in (0, 1):
        assert await refusal(connectors.renew(number, identity, tmp_path / "refused")) == "CERTIFICATE_REVOKED"


@pytest.mark.check("trust-19")
async def test_a_ban_while_many_enrol_leaves_nobody_with_a_certificate_that_counts(
    connectors: Connectors, tmp_path: Path
) -> None:
    tokens = [await connectors.token(admin=f"p{number}") for number in range(8)]
    spiffe_ids = [f"spiffe://{TRUST_DOMAIN}/admin/p{number}" for number in range(8)]

    enrolling = [
        asyncio.create_task(refusal(connectors.enrol(number % 2, token, tmp_path / f"p{number}")))
        for number, token in enumerate(tokens)
    ]
    await asyncio.gather(
        *(revoke(connectors, BAN, number % 2, spiffe_id=each) for number, each in enumerate(spiffe_ids))
    )
    outcomes = set(await asyncio.gather(*enrolling))

    assert outcomes <= {"", "TOKEN_REFUSED"}
    assert connectors.sql("SELECT serial_number FROM certificates WHERE revoke_time IS NULL") == []


@pytest.mark.check("trust-19")
async def test_what_the_director_deletes_is_banned_though_it_is_killed_at_once(registry: "Registry") -> None:
    application_id = await registry.application("one")
    await registry.director.DeleteApplication(DeleteApplicationRequest(application_id=application_id), timeout=PATIENCE)
    await registry.kill_director()

    await registry.start_director()

    await eventually("it is banned", lambda: registry.banned("application", application_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await registry.connectors.token(application_id=application_id)
    assert Problem.of(refused.value).reason == "APPLICATION_NOT_FOUND"


@pytest.mark.check("trust-19")
async def test_what_the_director_deletes_while_no_connector_runs_is_banned_later(registry: "Registry") -> None:
    runtime_id = await registry.runtime("one")
    identity = await registry.connectors.enrol(
        0, await registry.connectors.token(runtime_id=runtime_id), registry.home / "runtime"
    )
    await registry.connectors.kill(0)
    await registry.director.DeleteRuntime(DeleteRuntimeRequest(runtime_id=runtime_id), timeout=PATIENCE)
    await registry.kill_director()
    await registry.start_director()

    await registry.connectors.start()

    await eventually("it is banned", lambda: registry.banned("runtime", runtime_id))
    found = await registry.identity("runtime", runtime_id)
    assert found.revocation_reason == RevocationReason.REVOCATION_REASON_CESSATION_OF_OPERATION
    assert found.revoked_by == f"spiffe://{TRUST_DOMAIN}/service/director"
    refused = registry.connectors.renew(0, identity, registry.home / "refused")
    assert await refusal(refused) == "CERTIFICATE_REVOKED"


class Registry:
    """A Director and a Connector of one trust domain, on PostgreSQL."""

    def __init__(self, home: Path, server: PostgresqlServer) -> None:
        self.home = home
        self.directors = Directors(home, server, count=1)
        (self._process,) = self.directors.processes
        address = self._process.settings["listen"]
        self.connectors = Connectors(home, server, count=1, mint=self.directors.mint, director_address=address)
        self._process.settings["connector_address"] = self.connectors.planes[0].settings["listen"]

    @property
    def director(self) -> Any:
        """A stub for the Director, as the administrator."""
        return self._process.stub(self.directors.admin)

    async def start(self) -> None:
        """Start both."""
        await self.connectors.start()
        await self.start_director()

    async def start_director(self) -> None:
        """Start the Director."""
        await self._process.start()

    async def kill_director(self) -> None:
        """SIGKILL to the Director."""
        await self._process.end(signal.SIGKILL)

    async def close(self) -> None:
        """Kill those that run."""
        await self.directors.close()
        await self.connectors.close()

    async def application(self, name: str) -> str:
        """The id of a new Application."""
        request = CreateApplicationRequest(application=Application(name=name))
        created = await self.director.CreateApplication(request, timeout=PATIENCE)
        return str(created.application.application_id)

    async def runtime(self, name: str) -> str:
        """The id of a new Runtime."""
        created = await self.director.CreateRuntime(CreateRuntimeRequest(runtime=Runtime(name=name)), timeout=PATIENCE)
        return str(created.runtime.runtime_id)

    async def identity(self, kind: str, name: str) -> Identity:
        """What the Connector knows of a party."""
        request = GetIdentityRequest(spiffe_id=f"spiffe://{TRUST_DOMAIN}/{kind}/{name}")
        connector = self.connectors.connector(0)
        return (await connector.GetIdentity(request, timeout=PATIENCE, wait_for_ready=True)).identity

    async def banned(self, kind: str, name: str) -> bool:
        """Whether the Connector has banned a party."""
        try:
            return (await self.identity(kind, name)).state == BANNED
        except grpc.aio.AioRpcError as error:
            if Problem.of(error).reason != "IDENTITY_NOT_FOUND":
                raise
            return False


@pytest.fixture
async def registry(tmp_path: Path, postgresql: PostgresqlServer) -> AsyncIterator[Registry]:
    """Both, ready."""
    made = Registry(tmp_path, postgresql)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def revoke(
    connectors: Connectors, action: RevocationAction.ValueType, number: int = 1, spiffe_id: str = RUNTIME
) -> RevokeIdentityResponse:
    """Revoke an identity, at one of the Connectors."""
    request = RevokeIdentityRequest(spiffe_id=spiffe_id, action=action, reason=COMPROMISE)
    return await connectors.connector(number).RevokeIdentity(request, timeout=PATIENCE)


async def refusal(call: Awaitable[Any]) -> str:
    """Why a call is refused; empty where it is answered."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return Problem.of(error).reason or f"{error.code().name}: {error.details()}"
    return ""

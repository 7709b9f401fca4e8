"""Checks trust-13 and trust-14: renewals whose replies are lost, and renewals of many who enrolled together."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest, PlaneAddresses, RenewRequest, RenewResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity, LoadedIdentity
from certs.token import OneTimeToken
from mesh.channel import LiveChannel
from mesh.enrolment import enrol
from mesh.renewal import RenewalLoop
from tests.integration.connector.plane import problem_of
from tests.integration.connector.relay import relay
from tests.support.connectors import PATIENCE, Connectors
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually

RENEWED = "SELECT count(*) FROM audit WHERE action = 'RENEWED'"
UNLIMITED = {"enrolment_address_rate": "0", "identity_rate": "0"}


class Party:
    """A viewer that renews its certificate over `address`, and uses the new one each time."""

    def __init__(self, identity: Identity, address: str) -> None:
        self.identity = identity
        self.renewals = 0
        self.renewed = asyncio.Event()
        self._channel = LiveChannel(address, identity)
        self._task = asyncio.create_task(RenewalLoop(identity, self._renew, self._use).run())

    @property
    def locked_out(self) -> bool:
        """Whether its renewal has come to an end."""
        return self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close()

    async def _renew(self, request: RenewRequest) -> RenewResponse:
        return await self._channel.stub(ConnectorStub).Renew(request, timeout=2)

    async def _use(self, identity: LoadedIdentity, addresses: PlaneAddresses) -> None:
        self.renewals += 1
        self.renewed.set()
        await asyncio.gather(called(self._channel), return_exceptions=True)


def called(channel: LiveChannel) -> Awaitable[Any]:
    """A call that everybody may make who has a certificate that counts."""
    return channel.stub(ConnectorStub).GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)


@asynccontextmanager
async def running(home: Path, server: PostgresqlServer, **settings: str) -> AsyncIterator[Connectors]:
    connectors = Connectors(home, server, 1, None, **UNLIMITED, **settings)
    try:
        await connectors.start()
        yield connectors
    finally:
        await connectors.close()


@pytest.mark.timeout(180)
@pytest.mark.check("trust-13")
async def test_nobody_is_locked_out_though_three_replies_of_ten_are_lost(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    draw, seen, cuts = random.Random(13), 0, 0

    async with running(tmp_path, postgresql, viewer_lifetime="10") as connectors:

        def reply_is_lost() -> bool:
            # The ledger has another renewal, so that what comes by now is the answer to it, or comes just before that.
            nonlocal seen, cuts
            before, seen = seen, connectors.sql(RENEWED)[0][0]
            lost = any(draw.random() < 0.3 for _ in range(seen - before))
            cuts += lost
            return lost

        async with relay(connectors.planes[0].settings["listen"], cut=reply_is_lost) as lossy, AsyncExitStack() as end:
            parties = []
            for number in range(30):
                token = await connectors.token(viewer=f"viewer-{number}")
                identity = await connectors.enrol(0, token, tmp_path / f"viewer-{number}")
                parties.append(Party(identity, lossy.address))
                end.push_async_callback(parties[-1].close)

            async def all_renewed() -> bool:
                assert not [each.identity.folder.name for each in parties if each.locked_out]
                return all(each.renewals >= 4 for each in parties)

            await eventually("four renewals of each party", all_renewed, within=90)
            assert cuts >= 10
            for party in parties:
                await connectors.connector(0, party.identity).GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)


@pytest.mark.check("trust-13")
async def test_the_old_certificate_dies_on_all_instances_at_the_first_use_of_the_new(
    connectors: Connectors, tmp_path: Path
) -> None:
    old = await connectors.enrol(0, await connectors.token(), tmp_path / "old")
    new = await connectors.renew(0, old, tmp_path / "new")
    for number in (0, 1):
        await connectors.connector(number, old).GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)

    await connectors.connector(1, new).GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)
    begin = time.monotonic()
    for number in (0, 1):
        stub = connectors.connector(number, old)

        async def is_refused(stub: ConnectorStub = stub) -> bool:
            try:
                await stub.GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)
            except grpc.aio.AioRpcError:
                return True
            return False

        await eventually("the old certificate is refused", is_refused)
        problem = await problem_of(stub.GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE))
        assert problem.is_reason(Reason.REASON_CERTIFICATE_REVOKED)
    assert time.monotonic() - begin < 1
    await connectors.connector(0, new).GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.check("trust-14")
async def test_the_renewals_of_a_thousand_who_enrolled_in_ten_seconds_are_spread(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    async with running(tmp_path, postgresql, viewer_lifetime="60") as connectors, AsyncExitStack() as end:
        tokens = [OneTimeToken.decode(await connectors.token(viewer=f"viewer-{each}")) for each in range(1000)]
        address = connectors.planes[0].settings["listen"]
        begin = time.monotonic()

        async def enrolled(number: int) -> Party:
            await asyncio.sleep(begin + number / 100 - time.monotonic())
            identity = Identity(tmp_path / f"viewer-{number}")
            await enrol(tokens[number], identity)
            party = Party(identity, address)
            end.push_async_callback(party.close)
            return party

        parties = await asyncio.gather(*(enrolled(number) for number in range(1000)))
        async with asyncio.timeout(120):
            await asyncio.gather(*(party.renewed.wait() for party in parties))
        rows = connectors.sql(
            "SELECT min(issue_time) FROM certificates WHERE replaces_serial IS NOT NULL GROUP BY spiffe_id"
        )

    times = [row[0] / 1e6 for row in rows]
    seconds = Counter(int(each - min(times)) for each in times)
    mean = len(times) / (max(times) - min(times))
    assert len(times) == 1000
    assert max(seconds.values()) <= 3 * mean

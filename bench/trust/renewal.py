"""Renewal: a new certificate for a new key, over connections that are open."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, GetTrustBundleRequest, RenewRequest, RenewResponse

from bench.figures import Figure
from bench.trust import floor as bare
from bench.trust.newcomers import AT_ONCE, TIMEOUT, newcomers
from bench.trust.processes import connector, floor
from certs.keys import key_to_pem, new_key
from certs.request import make_csr
from mesh import uses
from mesh.channel import OPTIONS, open_pinned_channel
from tests.integration.connector.plane import Plane

ROUNDS = 5
PARTIES = 200
"""In each round, each with a connection of its own; every one of them renews once."""

_RENEW = "/moorage.connector.v1.Connector/Renew"
_OPTIONS = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
_Shown = tuple[bytes, bytes]
"""A private key and a certificate chain, in PEM."""


async def measure(home: Path) -> dict[str, Figure]:
    """`renew.rate`."""
    async with connector(home) as plane:
        identity = plane.mint.identity("service", "connector")
        async with floor("renew", identity.folder, authority=str(home / "issuing")) as address:
            rates: list[float] = []
            floors: list[float] = []
            for each in range(ROUNDS + 1):
                parties = await _enrolled(plane)
                at_floor = await _rate(plane, address, f"/{bare.SERVICE}/Renew", parties)
                at_connector = await _rate(plane, plane.settings["connector_address"], _RENEW, parties)
                floors += [at_floor] if each else []  # the first round warms up
                rates += [at_connector] if each else []
    return {
        "renew.rate": Figure(
            statistics.median(rates),
            statistics.median(floors),
            "1/s",
            "Renew by Runtimes that the Director was asked about within the minute, over open connections, the ledger"
            " on disk, beside a bare unary call that checks the CSR and signs",
        )
    }


async def _enrolled(plane: Plane) -> list[_Shown]:
    """New Runtimes."""
    parties: list[_Shown] = []

    async def enrol(requests: Iterator[EnrollRequest]) -> None:
        address = plane.settings["enrolment_address"]
        async with open_pinned_channel(address, plane.mint.root.chain_pem) as channel:
            for request in requests:
                key = new_key()
                asked = EnrollRequest(token=request.token, csr=make_csr(key))
                answer = await ConnectorStub(channel).Enroll(asked, timeout=TIMEOUT)
                parties.append((key_to_pem(key), answer.identity.certificate_chain_pem.encode()))

    requests = iter(await newcomers(plane, PARTIES))
    await asyncio.gather(*(enrol(requests) for _ in range(AT_ONCE)))
    return parties


async def _rate(plane: Plane, address: str, method: str, parties: Sequence[_Shown]) -> float:
    """How many renewals a second, `AT_ONCE` at a time, over connections that were open before."""
    async with _connections(address, plane.mint.root.chain_pem, parties) as channels:
        if method == _RENEW:  # a certificate is used before it is renewed, and long enough before to be in the ledger
            await asyncio.gather(*(ConnectorStub(each).GetTrustBundle(GetTrustBundleRequest()) for each in channels))
            await asyncio.sleep(2 * uses.INTERVAL)
        renewals: Iterator[tuple[Any, RenewRequest]] = iter(
            [
                (
                    each.unary_unary(method, RenewRequest.SerializeToString, RenewResponse.FromString),
                    RenewRequest(csr=make_csr(new_key())),
                )
                for each in channels
            ]
        )

        async def one_by_one() -> None:
            for call, request in renewals:
                answer = await call(request, timeout=TIMEOUT)
                assert answer.identity.certificate_chain_pem

        begin = time.perf_counter()
        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))
        return len(channels) / (time.perf_counter() - begin)


@asynccontextmanager
async def _connections(
    address: str, roots_pem: bytes, parties: Sequence[_Shown]
) -> AsyncIterator[list[grpc.aio.Channel]]:
    async with AsyncExitStack() as stack:
        channels = []
        for key_pem, chain_pem in parties:
            credentials = grpc.ssl_channel_credentials(roots_pem, key_pem, chain_pem)
            channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
            channels.append(await stack.enter_async_context(channel))
        await asyncio.gather(*(asyncio.wait_for(each.channel_ready(), TIMEOUT) for each in channels))
        yield channels

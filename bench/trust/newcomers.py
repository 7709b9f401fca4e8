"""Newcomers: each opens a connection of its own, makes one call with its token, and closes the connection."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import grpc
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, EnrollResponse
from moorage.connector.v1.token_pb2 import IssueTokenRequest

from certs.keys import new_key
from certs.request import make_csr
from mesh.channel import OPTIONS
from tests.integration.connector.plane import Plane

AT_ONCE = 16
TIMEOUT = 30.0
_OPTIONS = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))


class Newcomers:
    """Those who enrol at an address, by a method of the shape of `Enroll`."""

    def __init__(self, address: str, method: str, roots_pem: bytes) -> None:
        self._address = address
        self._method = method
        self._roots_pem = roots_pem

    async def rate(self, requests: Sequence[EnrollRequest]) -> float:
        """How many a second are served, `AT_ONCE` at a time."""
        waiting = iter(requests)
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._one_by_one(waiting))
        return len(requests) / (time.perf_counter() - begin)

    async def times(self, requests: Sequence[EnrollRequest], rate: float) -> list[float]:
        """Milliseconds that each takes of those that come at this rate, whether or not the ones before are served."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        coming = []
        for number, request in enumerate(requests):
            due = begin + number / rate
            await asyncio.sleep(due - loop.time())
            coming.append(asyncio.create_task(self._timed(request, due)))
        return list(await asyncio.gather(*coming))

    async def _one_by_one(self, waiting: Iterator[EnrollRequest]) -> None:
        for request in waiting:
            await self._enrol(request)

    async def _timed(self, request: EnrollRequest, due: float) -> float:
        await self._enrol(request)
        return (asyncio.get_running_loop().time() - due) * 1e3

    async def _enrol(self, request: EnrollRequest) -> None:
        # The credentials are made anew, too: nothing of one connection is of use to the next.
        credentials = grpc.ssl_channel_credentials(self._roots_pem)
        async with grpc.aio.secure_channel(self._address, credentials, options=_OPTIONS) as channel:
            call: Any = channel.unary_unary(self._method, EnrollRequest.SerializeToString, EnrollResponse.FromString)
            answer = await call(request, timeout=TIMEOUT)
        assert answer.identity.certificate_chain_pem


async def newcomers(plane: Plane, count: int) -> list[EnrollRequest]:
    """What as many Runtimes will ask, each with a token and a key of its own."""
    key = new_key()
    csr = make_csr(key)
    tokens: list[str] = []

    async def issue(numbers: Iterator[int]) -> None:
        stub = plane.connector()
        for _ in numbers:
            tokens.append((await stub.IssueToken(IssueTokenRequest(runtime_id=str(uuid4())), timeout=TIMEOUT)).token)

    numbers = iter(range(count))
    await asyncio.gather(*(issue(numbers) for _ in range(AT_ONCE)))
    return [EnrollRequest(token=token, csr=csr) for token in tokens]

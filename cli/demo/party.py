"""A party of the demo: an identity, the services it calls over mTLS, and calls that outlast a service's death."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import grpc
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.protobuf.message import Message
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.provisioner.v1.provisioner_pb2_grpc import ProvisionerStub

from certs.identity import Identity
from cli.plane.plane_file import Plane
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from mesh.errors import Problem

CALL_DEADLINE = 30.0
"""Seconds that a call has with all its attempts."""

ATTEMPT_DEADLINE = 5.0
"""Seconds that one attempt has."""

_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""CANCELLED, too: so ends a call on a service that is stopped in the middle of it, for nobody here cancels one."""

RequestT = TypeVar("RequestT", bound=Message, contravariant=True)
ResponseT = TypeVar("ResponseT", covariant=True)


class Method(Protocol[RequestT, ResponseT]):
    """A method of a generated stub."""

    def __call__(self, request: RequestT, /, *, timeout: float) -> Awaitable[ResponseT]:
        """Call it; `timeout` is in seconds."""


class Party:
    """Calls the plane with the identity in `folder`."""

    def __init__(self, folder: Path, plane: Plane) -> None:
        identity = Identity(folder)
        self._director = LiveChannel(plane.director, identity)
        self._connector = LiveChannel(plane.connector, identity)
        self._provisioner = LiveChannel(plane.provisioner, identity)
        self.attempts_failed = 0
        """Attempts that were made again since the service was away."""

    @property
    def director(self) -> DirectorStub:
        """The Director."""
        return self._director.stub(DirectorStub)

    @property
    def connector(self) -> ConnectorStub:
        """The Connector."""
        return self._connector.stub(ConnectorStub)

    @property
    def provisioner(self) -> ProvisionerStub:
        """The Provisioner."""
        return self._provisioner.stub(ProvisionerStub)

    @property
    def operations(self) -> OperationsStub:
        """The Provisioner's long-running operations."""
        return self._provisioner.stub(OperationsStub)

    async def call(
        self,
        method: Callable[["Party"], Method[RequestT, ResponseT]],
        request: RequestT,
        *,
        deadline: float = CALL_DEADLINE,
        attempt_deadline: float = ATTEMPT_DEADLINE,
    ) -> ResponseT:
        """Call `method` until it is answered: a service that was killed comes back. Raises `grpc.aio.AioRpcError`.

        The request must be harmless to repeat: a read, or a change with a `request_id` or to the same values.
        """
        backoff = Backoff(timedelta(milliseconds=50), timedelta(seconds=1))
        loop = asyncio.get_running_loop()
        last = loop.time() + deadline
        while True:
            try:
                left = last - loop.time()
                return await method(self)(request, timeout=max(0.1, min(attempt_deadline, left)))
            except grpc.aio.AioRpcError as error:
                problem = Problem.of(error)
                wait = backoff.next(problem.retry_after)
                if problem.code not in _AGAIN or loop.time() + wait > last:
                    raise
            self.attempts_failed += 1
            await asyncio.sleep(wait)

    async def delete(self, method: Callable[["Party"], Method[RequestT, object]], request: RequestT) -> None:
        """Call `method` to delete something. That it is gone already is well, since an answer may have been lost."""
        try:
            await self.call(method, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    async def close(self) -> None:
        """Close the connections."""
        for channel in (self._director, self._connector, self._provisioner):
            await channel.close()

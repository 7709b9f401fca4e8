"""One configuration stream, from its request to its end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import grpc
from moorage.director.v1.configuration_pb2 import ConfigurationKind, ResumePoint, WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.errors.v1.errors_pb2 import Reason

from agent.assembly import Assembly, StreamRefused
from agent.configuration import Configuration
from mesh.errors import Problem

CONNECT_TIMEOUT = 15.0
"""Seconds until a stream is given up that the Director has not taken. It takes one by its first message: a snapshot, or
what changed since the resume point, or a bookmark."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Why a stream ended, and what that means for the next one."""

    message: str
    reason: str = ""
    retry_after: timedelta | None = None
    broke_contract: bool = False
    """What it brought is not to be built upon."""
    orderly: bool = False
    """The Director had taken it, and asked to come again: it is old, or the Director stops. That is no failure."""


class Watch:
    """Reads one stream in the background, resumed from `held` where that is given.

    `on_configuration` is called with each configuration that is complete and has the hash that it should have;
    `on_change` when the stream was taken and when it ended.
    """

    def __init__(
        self,
        runtime_id: str,
        channel: grpc.aio.Channel,
        held: Configuration | None,
        on_configuration: Callable[["Watch", ConfigurationKind.ValueType, Configuration], None],
        on_change: Callable[["Watch"], None],
        wait_for_ready: bool,
    ) -> None:
        request = WatchConfigurationRequest(runtime_id=runtime_id)
        if held is not None:
            request.resume.CopyFrom(ResumePoint(plane_id=held.plane_id, revision=held.revision))
            request.credentials_revision = held.credentials_revision
        self._call = DirectorStub(channel).WatchConfiguration(request, wait_for_ready=wait_for_ready)
        self._assembly = Assembly(held)
        self._on_configuration = on_configuration
        self._on_change = on_change
        self._accepted = asyncio.Event()
        self._accepted_at = 0.0
        self._ending = False
        self.failure: StreamEnded | None = None
        """Why it ended; None while it goes on."""
        self._task = asyncio.create_task(self._run())

    @property
    def is_open(self) -> bool:
        """Whether the Director has taken the stream, and it has not ended."""
        return self._accepted.is_set() and self.failure is None

    @property
    def seconds_open(self) -> float:
        """How long ago the Director took the stream; 0 if it did not."""
        return asyncio.get_running_loop().time() - self._accepted_at if self._accepted_at else 0.0

    async def accepted_or_ended(self) -> None:
        """Wait until it is known whether the Director takes the stream."""
        await self._accepted.wait()

    async def ended(self) -> None:
        """Wait for the end; raises what went wrong in the agent itself."""
        await asyncio.shield(self._task)

    async def end(self) -> None:
        """End it now."""
        self._ending = True
        self._task.cancel()
        self._call.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            self.failure = await self._read()
        except asyncio.CancelledError:
            self.failure = StreamEnded("ended by the agent")
            raise
        finally:
            self._call.cancel()
            self._accepted.set()
            self._on_change(self)

    async def _read(self) -> StreamEnded:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT) as limit:
                await self._follow(limit)
        except StreamRefused as error:
            return StreamEnded(str(error), error.reason, broke_contract=True)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            orderly = self._accepted_at > 0 and problem.is_reason(Reason.REASON_NOT_READY)
            message = f"{problem.code.name}: {problem.message}"
            return StreamEnded(message, problem.reason, problem.retry_after, orderly=orderly)
        except TimeoutError:
            return StreamEnded(f"the Director did not answer within {CONNECT_TIMEOUT:g} s")
        except asyncio.CancelledError:
            # So ends a call, too, whose channel was closed: one whose identity was replaced on disk, a while later.
            if self._ending:
                raise
            return StreamEnded("its channel was closed")
        return StreamEnded("the Director ended it")

    async def _follow(self, limit: asyncio.Timeout) -> None:
        async for message in self._call:
            self._accept(limit)
            configuration = self._assembly.take(message)
            if configuration is not None:
                self._on_configuration(self, message.kind, configuration)

    def _accept(self, limit: asyncio.Timeout) -> None:
        if not self._accepted.is_set():
            limit.reschedule(None)
            self._accepted_at = asyncio.get_running_loop().time()
            self._accepted.set()
            self._on_change(self)

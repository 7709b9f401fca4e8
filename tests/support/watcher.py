"""A Runtime that follows its configuration as its agent does, over any number of streams."""

import asyncio
from datetime import timedelta

import grpc
from moorage.director.v1.configuration_pb2 import (
    ConfigurationKind,
    ResumePoint,
    WatchConfigurationRequest,
)

from agent.assembly import Assembly
from agent.configuration import Configuration
from mesh.backoff import Backoff
from tests.support.directors import Client


class Watcher:
    """Watches one Runtime's configuration, and resumes at the next Director when a stream ends.

    What breaks the stream's contract raises `StreamRefused`: a revision that is not above the one before, a content
    that does not have its hash.
    """

    def __init__(self, runtime_id: str, client: Client) -> None:
        self.runtime_id = runtime_id
        self.client = client
        self.held: Configuration | None = None
        self.revisions: list[int] = []
        """Of all the configurations that it had."""
        self.begun: list[str] = []
        """What each of its streams began with."""

    async def run(self) -> None:
        """Watch until cancelled."""
        backoff = Backoff(timedelta(milliseconds=50), timedelta(seconds=1))
        while True:
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            self.client.move()
            await asyncio.sleep(backoff.next())

    async def _follow(self) -> None:
        request = WatchConfigurationRequest(runtime_id=self.runtime_id)
        if self.held is not None:
            request.resume.CopyFrom(ResumePoint(plane_id=self.held.plane_id, revision=self.held.revision))
        assembly = Assembly(self.held)
        stream = self.client.stub.WatchConfiguration(request)
        begun = False
        async for message in stream:
            if not begun:
                self.begun.append(ConfigurationKind.Name(message.kind).removeprefix("CONFIGURATION_KIND_"))
                begun = True
            configuration = assembly.take(message)
            if configuration is not None:
                self.held = configuration
                self.revisions.append(configuration.revision)


async def snapshot_of(client: Client, runtime_id: str) -> Configuration:
    """What the Director that this client calls shows a Runtime now."""
    assembly = Assembly(None)
    stream = client.stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id), timeout=60)
    try:
        async for message in stream:
            configuration = assembly.take(message)
            if configuration is not None:
                return configuration
    finally:
        stream.cancel()
    raise AssertionError("the stream ended before its snapshot")

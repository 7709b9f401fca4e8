"""A reader of a hub in this process."""

import contextlib
from collections.abc import AsyncGenerator

from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse

from director.stream.hub import Hub
from mesh.errors import Refusal
from tests.support.stream_reader import StreamReader


class Reader(StreamReader):
    """Reads what a hub gives, with no wire in between."""

    def __init__(self, hub: Hub, runtime_id: str) -> None:
        super().__init__(runtime_id)
        self.hub = hub

    async def _stream(self, request: WatchConfigurationRequest) -> AsyncGenerator[WatchConfigurationResponse, None]:
        try:
            async with contextlib.aclosing(self.hub.watch(request)) as stream:
                async for content in stream:
                    yield WatchConfigurationResponse.FromString(content)
        except Refusal as refusal:
            self.refusal = refusal

"""A TCP relay before a listener, that sees what goes by and can cut it off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

Cut = Callable[[], bool]


class Relay:
    """`address` leads to `target`. A connection is cut when `cut()` is true as the target answers."""

    def __init__(self, target: str, cut: Cut) -> None:
        self.address = ""
        self.connections: list[bytearray] = []
        """What clients sent, one entry a connection."""
        self._host, _, self._port = target.rpartition(":")
        self._cut = cut
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        await asyncio.wait((task,))

    async def close(self) -> None:
        """End what is under way."""
        serving = set(self._serving)
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving, timeout=5)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        self.connections.append(sent)
        try:
            await self._through(reader, writer, sent)
        finally:
            await _closed(writer)

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytearray) -> None:
        target_reader, target_writer = await asyncio.open_connection(self._host, int(self._port))
        forward = asyncio.create_task(_copy(reader, target_writer, sent))
        try:
            while (chunk := await target_reader.read(65536)) and not self._cut():
                writer.write(chunk)
        except ConnectionError:
            pass  # either side may go first
        finally:
            forward.cancel()
            await _closed(target_writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
    while chunk := await reader.read(65536):
        record += chunk
        writer.write(chunk)
    writer.close()


@asynccontextmanager
async def relay(target: str, cut: Cut = lambda: False) -> AsyncIterator[Relay]:
    """Serve a relay to `target` on a free port."""
    made = Relay(target, cut)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    made.address = f"{host}:{port}"
    try:
        async with server:
            yield made
    finally:
        await made.close()

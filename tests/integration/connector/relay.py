"""A TCP relay before a listener, that sees what goes by and can cut it off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Cut = Callable[[], bool]


class Relay:
    """`address` leads to `target`. A connection is cut when `cut()` is true as the target answers."""

    def __init__(self, target: str, cut: Cut) -> None:
        self.address = ""
        self.connections: list[bytearray] = []
        """What clients sent, one entry a connection."""
        self._host, _, self._port = target.rpartition(":")
        self._cut = cut

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        self.connections.append(sent)
        target_reader, target_writer = await asyncio.open_connection(self._host, int(self._port))
        forward = asyncio.create_task(_copy(reader, target_writer, sent))
        try:
            while (chunk := await target_reader.read(65536)) and not self._cut():
                writer.write(chunk)
        except ConnectionError:
            pass  # either side may go first
        finally:
            forward.cancel()
            target_writer.close()
            writer.close()


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
    async with server:
        yield made

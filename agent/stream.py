"""Holds the configuration stream open: one at a time, and for a moment two when the certificate was renewed."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import grpc
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ConfigurationKind,
)

from agent.configuration import Configuration
from agent.status import Counts
from agent.watch import StreamEnded, Watch
from certs.identity import IdentityRefused
from mesh import telemetry
from mesh.backoff import Backoff

STEADY = 10.0
"""Seconds after which a stream counts as a success, so that the next wait is short again."""

_log = telemetry.logger("stream")


class ConfigurationStream:
    """Streams a Runtime's configuration, from `held` on where that is given.

    `channel` gives the channel to the Director for the identity as it is now; it raises `IdentityRefused` or `OSError`.
    `on_configuration` is called with each new whole configuration, `on_connected` when a stream is open after none was
    and when none is open any more, `on_counted` after `counts` has changed.
    """

    def __init__(
        self,
        runtime_id: str,
        channel: Callable[[], grpc.aio.Channel],
        held: Configuration | None,
        backoff: Backoff,
        counts: Counts,
        *,
        on_configuration: Callable[[Configuration], None],
        on_connected: Callable[[bool], None],
        on_counted: Callable[[], None],
    ) -> None:
        self._runtime_id = runtime_id
        self._channel = channel
        self._held = held
        self._backoff = backoff
        self._counts = counts
        self._on_configuration = on_configuration
        self._on_connected = on_connected
        self._on_counted = on_counted
        self._renewed = asyncio.Event()
        self._newest: Watch | None = None
        self._previous: Watch | None = None
        self._connected = False

    def renew(self) -> None:
        """Open a stream with the identity as it is now, and end the one before once the Director has taken it."""
        self._renewed.set()

    async def run(self) -> NoReturn:
        """Stream until cancelled."""
        try:
            wait_for_ready = False
            while True:
                self._renewed.clear()
                failure = await self._stream(wait_for_ready)
                if failure is not None and failure.orderly:
                    wait_for_ready = False
                    await self._resume(failure)
                elif failure is not None:
                    # A try that fails at once says why; the next one waits for the connection, and so comes in time.
                    wait_for_ready = not wait_for_ready
                    await self._pause(failure)
        finally:
            await self._end(self._newest)
            await self._end(self._previous)

    async def _stream(self, wait_for_ready: bool) -> StreamEnded | None:
        """Open a stream and follow it to its end; None where a renewal asks for the next while it goes on."""
        try:
            channel = self._channel()
        except (IdentityRefused, OSError) as error:
            return StreamEnded(f"there is no identity to connect with: {error}")
        watch = self._newest = Watch(self._runtime_id, channel, self._held, self._take, self._look, wait_for_ready)
        await self._until_renewed_or(watch.accepted_or_ended())
        if watch.is_open:
            await self._end(self._previous)
            await self._until_renewed_or(watch.ended())
        if watch.failure is None:
            if watch.is_open:
                self._previous = watch
            else:
                await self._end(watch)
            return None
        if watch.failure.broke_contract:
            self._held = None
        if watch.failure.orderly or watch.seconds_open >= STEADY:
            self._backoff.reset()
        return watch.failure

    def _take(self, watch: Watch, kind: ConfigurationKind.ValueType, configuration: Configuration) -> None:
        if kind == CONFIGURATION_KIND_SNAPSHOT:
            self._counts.snapshots += 1
        elif kind == CONFIGURATION_KIND_DELTA:
            self._counts.deltas += 1
        self._on_counted()
        # While two streams are open both bring the same. Only the newer one may go back, to another plane's revisions.
        held = self._held
        starts_over = kind == CONFIGURATION_KIND_SNAPSHOT and watch is self._newest
        if starts_over or held is None or _is_newer(configuration, held):
            self._held = configuration
            self._on_configuration(configuration)

    def _look(self, changed: Watch) -> None:
        if changed.is_open:
            self._counts.streams_opened += 1
            self._on_counted()
        connected = any(watch is not None and watch.is_open for watch in (self._newest, self._previous))
        if connected != self._connected:
            self._connected = connected
            self._on_connected(connected)

    async def _end(self, watch: Watch | None) -> None:
        if watch is not None:
            await watch.end()

    async def _resume(self, end: StreamEnded) -> None:
        """Wait for as long as the Director asks those to whom it says good-bye, and no longer."""
        wait = end.retry_after.total_seconds() if end.retry_after is not None else self._backoff.next()
        _log.info("the stream is resumed", because=end.message, next_try_in=wait)
        await self._rest(wait)

    async def _pause(self, failure: StreamEnded) -> None:
        wait = self._backoff.next(failure.retry_after)
        _log.warning("no configuration stream", failure=failure.message, reason=failure.reason, next_try_in=wait)
        await self._rest(wait)

    async def _rest(self, wait: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._renewed.wait()

    async def _until_renewed_or(self, done: Coroutine[Any, Any, None]) -> None:
        first, second = asyncio.create_task(done), asyncio.create_task(self._renewed.wait())
        try:
            await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                first.result()
        finally:
            first.cancel()
            second.cancel()


def _is_newer(one: Configuration, other: Configuration) -> bool:
    return one.plane_id == other.plane_id and _age(one) > _age(other)


def _age(configuration: Configuration) -> tuple[int, int]:
    return configuration.revision, configuration.credentials_revision

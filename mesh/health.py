"""Health, true to what a service depends on.

The empty service name says that the process lives; the full name of a service says whether it is ready to answer. What
it depends on is asked at intervals, and a service whose database is away is live but not ready.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from grpc_health.v1 import health, health_pb2

from mesh import telemetry

CHECK_INTERVAL = 2.0
"""Seconds between two rounds of checks, give or take a fifth."""

CHECK_TIMEOUT = 2.0
"""Seconds that one check may take before it counts as failed."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = telemetry.logger("health")


class Readiness:
    """Watches what a service depends on, and tells grpc's health service."""

    def __init__(self, service: str, checks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        """`service` is the full name of the gRPC service; each check raises where its dependency is away."""
        self.servicer = health.aio.HealthServicer()
        self._service = service
        self._checks = checks
        self._ready: bool | None = None
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask everything once, then go on asking in the background."""
        await self.servicer.set("", _SERVING)
        await self.check()
        self._loop = asyncio.create_task(self._keep_checking())

    async def stop(self) -> None:
        """Say NOT_SERVING from now on."""
        if self._loop:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        await self.servicer.enter_graceful_shutdown()
        telemetry.READY.labels(self._service).set(0)

    async def check(self) -> bool:
        """Ask everything now, and say what came of it."""
        results = await asyncio.gather(*(self._passes(name, check) for name, check in self._checks.items()))
        ready = all(results)
        if ready != self._ready:
            self._ready = ready
            _log.info("ready" if ready else "not ready", of=self._service)
            await self.servicer.set(self._service, _SERVING if ready else _NOT_SERVING)
            telemetry.READY.labels(self._service).set(ready)
        return ready

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311 - spread, not secrecy
            await self.check()

    async def _passes(self, name: str, check: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await check()
        except Exception as error:  # whatever it is: the next round must come
            _log.warning("dependency away", dependency=name, error=str(error) or type(error).__name__)
            return False
        return True

"""Readiness, as the checks say it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from mesh import health
from mesh.health import Readiness

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(autouse=True)
def _checks_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_INTERVAL", 0.01)


async def status_of(readiness: Readiness) -> int:
    servicer: Any = readiness.servicer
    status: int = (await servicer.Check(health_pb2.HealthCheckRequest(service="x"), None)).status
    return status


async def test_a_check_that_breaks_in_a_way_nobody_foresaw_is_asked_again() -> None:
    asked = asyncio.Queue[int]()
    fault: Exception | None = ZeroDivisionError("on purpose")

    async def check() -> None:
        asked.put_nowait(1)
        if fault:
            raise fault

    readiness = Readiness("x", {"breaks": check})
    await readiness.start()
    assert await status_of(readiness) == NOT_SERVING
    fault = None
    async with asyncio.timeout(10):
        while await status_of(readiness) != SERVING:
            await asked.get()
    await readiness.stop()
    assert await status_of(readiness) == NOT_SERVING


@pytest.mark.parametrize("ready", [True, False])
async def test_a_service_is_ready_when_every_check_passes(ready: bool) -> None:
    async def passes() -> None: ...

    async def fails() -> None:
        raise OSError("away")

    checks: dict[str, Callable[[], Awaitable[None]]] = {"a": passes, "b": passes if ready else fails}
    readiness = Readiness("x", checks)
    assert await readiness.check() is ready

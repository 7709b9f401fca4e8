"""What is deleted is told to the Connector: noted with the deletion, tried until it is told, and then forgotten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from moorage.director.v1.application_pb2 import DeleteApplicationRequest
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest
from moorage.errors.v1.errors_pb2 import Reason

from director.applications import delete_application
from director.changes import Kind
from director.departures import Departures
from director.runtimes import delete_runtime
from director.store import departures, tables
from mesh.errors import Refusal
from tests.unit.director.plane import Plane
from tests.unit.director_webhooks.test_delivery import Tasks


class Connector:
    """Takes what it is told, once it has failed so often."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.told: list[tuple[Kind, str]] = []
        self.tried = 0

    async def __call__(self, kind: Kind, party_id: str) -> None:
        self.tried += 1
        if self.tried <= self.failures:
            raise grpc.RpcError if self.tried % 2 else OSError("away")
        self.told.append((kind, party_id))


@asynccontextmanager
async def telling(plane: Plane, connector: Connector) -> AsyncIterator[Tasks]:
    told = Departures(plane.database, connector, random=lambda: 0.0)
    tasks = Tasks(told.workflows)
    running = asyncio.create_task(told.run(tasks))
    try:
        yield tasks
    finally:
        for task in (running, *tasks.started.values()):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def deleted(plane: Plane) -> tuple[str, str]:
    """An Application and a Runtime that are gone."""
    application_id, runtime_id = plane.application().application_id, plane.runtime().runtime_id
    plane.change(delete_application, DeleteApplicationRequest(application_id=application_id))
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime_id))
    return application_id, runtime_id


def waiting(plane: Plane, most: int = 10) -> list[tuple[str, str]]:
    with plane.transaction() as tx:
        return departures.waiting(tx, most)


def test_what_is_deleted_waits_the_oldest_first(plane: Plane) -> None:
    application_id, runtime_id = deleted(plane)

    assert waiting(plane) == [(application_id, "APPLICATION"), (runtime_id, "RUNTIME")]
    assert waiting(plane, 1) == [(application_id, "APPLICATION")]


def test_what_is_not_deleted_after_all_does_not_wait(plane: Plane) -> None:
    application_id = plane.application().application_id

    plane.change(delete_application, DeleteApplicationRequest(application_id=application_id, validate_only=True))
    with pytest.raises(Refusal) as refused:
        plane.change(delete_application, DeleteApplicationRequest(application_id=application_id, etag='"0"'))

    assert refused.value.reason == Reason.REASON_ETAG_MISMATCH
    assert waiting(plane) == []


async def test_what_was_deleted_is_told_and_forgotten(plane: Plane) -> None:
    application_id, runtime_id = deleted(plane)
    connector = Connector()

    async with telling(plane, connector) as tasks:
        await tasks.ended(2)

    assert sorted(connector.told) == [(Kind.APPLICATION, application_id), (Kind.RUNTIME, runtime_id)]
    assert plane.rows(tables.departures) == []


async def test_it_is_tried_until_it_is_told_a_minute_apart_at_most(plane: Plane) -> None:
    application_id = plane.application().application_id
    plane.change(delete_application, DeleteApplicationRequest(application_id=application_id))
    connector = Connector(failures=10)

    async with telling(plane, connector) as tasks:
        await tasks.ended(1)

    assert connector.told == [(Kind.APPLICATION, application_id)]
    assert tasks.waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert plane.rows(tables.departures) == []


async def test_more_than_are_tried_at_a_time_are_all_told(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("director.departures.MOST_TRIED", 2)
    for _ in range(3):
        deleted(plane)
    connector = Connector()

    async with telling(plane, connector) as tasks:
        await tasks.ended(6)

    assert len(connector.told) == 6

"""A whole Provisioner, with doubles for the rest of the plane and for the driver, on real SQLite and real DBOS."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import Operation

from certs.clock import system_clock
from mesh.database import Database
from mesh.durable import Durable
from mesh.migration import prepare
from provisioner import store
from provisioner.dispatcher import Dispatcher
from provisioner.messages import operation_message
from provisioner.operations import Operations
from provisioner.runtimes import Runtimes
from provisioner.workflows import Workflows
from tests.unit.provisioner.doubles import DriverDouble, PlaneDouble
from tests.unit.provisioner.host import RUNTIME, Host

DEADLINE = 20.0
ADMIN = "spiffe://plane.test/admin/alice"


@dataclass(frozen=True)
class Provisioner:
    database: Database
    plane: PlaneDouble
    driver: DriverDouble
    operations: Operations
    runtimes: Runtimes
    workflows: Workflows
    durable: Durable
    dispatcher: Dispatcher

    async def ended(self, operation: store.Operation) -> Operation:
        """The operation's message once it has ended."""
        message = operation_message(await self.operations.wait(operation.operation_id, DEADLINE))
        assert message.done
        return message

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait, while an operation moves on, until `holds()`."""
        committed = asyncio.Event()
        self.database.on_commit(store.OPERATIONS, committed.set)
        async with asyncio.timeout(DEADLINE):
            while not await holds():
                await committed.wait()
                committed.clear()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Carry out operations."""
        dispatching = asyncio.create_task(self.dispatcher.run())
        try:
            yield
        finally:
            dispatching.cancel()
            await asyncio.gather(dispatching, return_exceptions=True)
            await self.durable.stop(DEADLINE)


def assemble(home: Path, plane: PlaneDouble, driver: DriverDouble) -> Provisioner:
    database = Database.open(f"sqlite:///{home}/provisioner.sqlite")
    prepare(database.engine, store.metadata, "provisioner")
    operations = Operations(database, system_clock)
    workflows = Workflows(operations, plane, {"process": driver}, retry_timeout=2.0, ready_timeout=2.0)
    durable = Durable(name="provisioner", url=f"sqlite:///{home}/dbos.sqlite", workflows=workflows.by_name)
    dispatcher = Dispatcher(database, durable)
    runtimes = Runtimes(database, plane, {"process": driver}, system_clock, lambda: str(uuid.uuid4()), dispatcher.wake)
    return Provisioner(database, plane, driver, operations, runtimes, workflows, durable, dispatcher)


@pytest.fixture
def provisioner(tmp_path: Path) -> Iterator[Provisioner]:
    """A Provisioner that takes operations in and, outside of `at_work`, leaves them lying."""
    assembled = assemble(tmp_path, PlaneDouble(tmp_path), DriverDouble(tmp_path))
    yield assembled
    assembled.database.close()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    os.mkfifo(tmp_path / "events")
    reader = asyncio.StreamReader()
    # Opened for writing as well, so that it does not end with the first workload.
    pipe = os.fdopen(os.open(tmp_path / "events", os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    host = Host(tmp_path, reader)
    yield host
    for driver in reversed(host.drivers):  # the one at work first: it would start again what another one ends
        await driver.remove(RUNTIME)
    transport.close()

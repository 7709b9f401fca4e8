"""Operations reach the workflows, also one that was lost on the way."""

import asyncio
from datetime import timedelta

from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest

from mesh.durable import Durable, Json
from provisioner.dispatcher import Dispatcher
from tests.unit.provisioner.conftest import ADMIN, DEADLINE, Provisioner


class DurableDouble(Durable):
    """Takes workflows in and runs none."""

    def __init__(self) -> None:
        super().__init__(name="double", url="", workflows={})
        self.started: asyncio.Queue[str] = asyncio.Queue()

    async def launch(self) -> None:
        """There is nothing to launch."""

    async def start(self, workflow: str, workflow_id: str, *args: Json) -> None:
        self.started.put_nowait(workflow_id)


async def test_an_operation_that_has_not_ended_is_handed_over_again_however_busy_the_provisioner_is(
    provisioner: Provisioner,
) -> None:
    durable = DurableDouble()
    dispatcher = Dispatcher(provisioner.database, durable, timedelta(milliseconds=50))
    lost = await provisioner.runtimes.create(CreateRuntimeRequest(name="lost"), ADMIN)

    async def keep_busy() -> None:
        while True:
            dispatcher.wake()
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(keep_busy())]
    async with asyncio.timeout(DEADLINE):
        for _ in range(3):
            assert await durable.started.get() == lost.operation_id
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_operation_is_handed_over_once_between_two_sweeps(provisioner: Provisioner) -> None:
    durable = DurableDouble()
    dispatcher = Dispatcher(provisioner.database, durable, timedelta(hours=1))
    task = asyncio.create_task(dispatcher.run())
    asked = []
    async with asyncio.timeout(DEADLINE):
        for name in ("one", "two", "three"):
            asked.append((await provisioner.runtimes.create(CreateRuntimeRequest(name=name), ADMIN)).operation_id)
            dispatcher.wake()
            assert await durable.started.get() == asked[-1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert durable.started.empty()

"""A process that runs one workflow of two steps: `durable_child.py URL INSTANCE [hang]`. With it, the second hangs."""

import asyncio
import sys

from mesh.durable import Durable, Run


async def main(url: str, instance: str, hang: bool) -> None:
    ended = asyncio.Event()

    async def first() -> None:
        print("first", flush=True)

    async def second() -> None:
        print("second", flush=True)
        if hang:
            await asyncio.Event().wait()

    async def work(run: Run) -> None:
        await run.step("first", first)
        await run.step("second", second)
        await run.step("end", end)

    async def end() -> None:
        print("done", flush=True)
        ended.set()

    durable = Durable(name="moorage-test", url=url, workflows={"work": work}, instance=instance)
    await durable.launch()
    await durable.start("work", "id-1")
    await ended.wait()
    await durable.stop(10.0)


asyncio.run(main(sys.argv[1], sys.argv[2], "hang" in sys.argv[3:]))

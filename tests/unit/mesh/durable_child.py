"""A process that runs one workflow of two steps: `durable_child.py HOME [hang]`. With `hang`, the second never ends."""

import asyncio
import sys
from pathlib import Path

from mesh.durable import Durable, Run


async def main(home: Path, hang: bool) -> None:
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

    durable = Durable(name="moorage-test", url=f"sqlite:///{home}/durable.sqlite", workflows={"work": work})
    await durable.launch()
    await durable.start("work", "id-1")
    await ended.wait()
    await durable.stop(10.0)


asyncio.run(main(Path(sys.argv[1]), "hang" in sys.argv[2:]))

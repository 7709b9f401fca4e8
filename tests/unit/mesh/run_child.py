"""A process that `mesh.run` runs: `run_child.py SCENE`. What it does is printed, a word a line."""

import asyncio
import sys
import threading
from contextlib import AsyncExitStack

from moorage.errors.v1.errors_pb2 import Reason

from mesh import run
from mesh.errors import Refusal

STUCK = threading.Event()


def say(word: str) -> None:
    print(word, flush=True)


async def well(stack: AsyncExitStack) -> None:
    stack.callback(say, "undone")
    say("started")


async def fails_midway(stack: AsyncExitStack) -> None:
    stack.callback(say, "undone")
    raise Refusal(Reason.REASON_DATABASE_UNAVAILABLE, "the service cannot\nuse its database")


async def slow(stack: AsyncExitStack) -> None:
    say("starting")
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)  # as what lets go of something does
        stack.callback(say, "undone")


async def stays(stack: AsyncExitStack) -> None:
    stack.callback(say, "undone")
    stack.push_async_callback(asyncio.Event().wait)
    say("started")


async def works(stack: AsyncExitStack) -> None:
    async def work() -> None:
        say("started")
        try:
            await asyncio.Event().wait()
        finally:
            say("cancelled")

    run.in_background(stack, work())


async def works_and_fails(stack: AsyncExitStack) -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_soon(say, "started")
        raise LookupError("nowhere")

    run.in_background(stack, work())


async def sticks(stack: AsyncExitStack) -> None:
    stack.callback(STUCK.wait)
    say("started")


async def sticks_in_a_thread(stack: AsyncExitStack) -> None:
    asyncio.get_running_loop().run_in_executor(None, STUCK.wait)
    say("started")


run.STOP_DEADLINE, run.END_DEADLINE = 0.2, 0.3
sys.exit(run.run("child", globals()[sys.argv[1]]))

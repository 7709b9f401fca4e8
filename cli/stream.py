"""Streams of the Director that last: their steps, each whole, and opened again where one breaks."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from cli.connection import FIRST_WAIT, LONGEST_WAIT, Connection
from cli.output import tell
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    import grpc
    from moorage.director.v1.configuration_pb2 import (
        WatchApplicationConfigurationResponse,
        WatchConfigurationResponse,
    )
    from moorage.director.v1.runtime_pb2 import WatchRuntimesRequest, WatchRuntimesResponse


StepT = TypeVar(
    "StepT", bound="WatchConfigurationResponse | WatchApplicationConfigurationResponse | WatchRuntimesResponse"
)
Open: TypeAlias = "Callable[[StepT | None], grpc.aio.UnaryStreamCall[Any, StepT]]"
"""Opens the stream: from its beginning for None, else after the step that ended with the message."""


async def show_steps(plane: Connection, open_stream: "Open[StepT]", *, resumable: bool, once: bool) -> None:
    """Print each message of each step; with `once`, of the first alone. Ends and raises as `steps` does."""
    async with aclosing(steps(plane, open_stream, resumable=resumable)) as whole:
        async for step in whole:
            for message in step:
                plane.output.message(message)
            if once:
                return


async def steps(plane: Connection, open_stream: "Open[StepT]", *, resumable: bool) -> AsyncGenerator[list[StepT], None]:
    """The messages of each step; where the stream breaks it is opened again. Ends only by an error.

    A `resumable` one goes on after the last whole step; another begins anew. Raises `grpc.aio.AioRpcError` for a
    refusal, `Stopped` (UNAVAILABLE, DEADLINE) where nothing answered for the call's time.
    """
    from mesh.backoff import Backoff

    clock = asyncio.get_running_loop().time
    backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
    last: StepT | None = None
    give_up = clock() + plane.timeout
    while True:
        step: list[StepT] = []
        try:
            async with aclosing(_messages(plane, open_stream, last)) as messages:
                async for message in messages:
                    step.append(message)
                    if not message.partial:
                        yield step
                        step = []
                        last = message if resumable else None
                    backoff.reset()
                    give_up = math.inf
        except Stopped as broken:
            if broken.code is not Exit.UNAVAILABLE:
                raise
            now = clock()
            give_up = min(give_up, now + plane.timeout)
            wait = backoff.next()
            if now + wait >= give_up:
                raise
            tell("the stream broke; resuming it")
            await asyncio.sleep(wait)


def watch_runtimes(plane: Connection) -> "grpc.aio.UnaryStreamCall[WatchRuntimesRequest, WatchRuntimesResponse]":
    """Open the stream of the Runtimes, from its beginning: it cannot be resumed."""
    from moorage.director.v1.runtime_pb2 import WatchRuntimesRequest

    return plane.director.stub.WatchRuntimes(WatchRuntimesRequest())


async def _messages(plane: Connection, open_stream: "Open[StepT]", last: StepT | None) -> AsyncGenerator[StepT, None]:
    # The messages of one stream. It ends by raising: `Stopped` (UNAVAILABLE) where trying again may help.
    import grpc

    from mesh.errors import Problem

    director = plane.director
    stream = open_stream(last)
    # A resumed stream may have nothing to say for long; a new one begins with a snapshot.
    patience = plane.timeout if last is None else None
    try:
        while (message := await asyncio.wait_for(stream.read(), patience)) is not grpc.aio.EOF:
            patience = None
            yield cast(StepT, message)
        problem = Problem(grpc.StatusCode.UNAVAILABLE, "it ended the stream")
    except TimeoutError:
        raise Stopped(
            Exit.DEADLINE, f"the Director at {director.address} sent nothing within {plane.timeout:g} s"
        ) from None
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        if problem.code is not grpc.StatusCode.UNAVAILABLE:
            raise
    finally:
        stream.cancel()
    raise director.unreachable(problem)

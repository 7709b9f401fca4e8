"""How a service's process runs: logs, signals, the notice that it is ready, and a stop that ends within a deadline."""

import asyncio
import faulthandler
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from certs.errors import CertsError
from mesh import telemetry
from mesh.exits import Exit, Stopped
from mesh.settings import SettingsRefused

STOP_DEADLINE = 10.0
"""Seconds that a process has to stop gracefully."""

END_DEADLINE = 1.0
"""Seconds after that until it is ended all the same, with what held it up on stderr."""

_COLLECT_AFTER = (50_000, 20, 100)
"""When cycles are looked for, as `gc.set_threshold` takes it. Every call and stream has its objects. By its own first
value of 700, Python would look through those of thousands of streams several times for one message to each."""

Start = Callable[[AsyncExitStack], Awaitable[None]]

_STDERR = 2
_log = telemetry.logger("run")


def run(service: str, start: Start, log_level: str = "info") -> int:
    """Run `start(stack)`, say that the service is ready, wait for SIGTERM or SIGINT, unwind the stack; the exit code.

    `start` brings everything up and leaves on the stack how to bring it down. What it raises as `Stopped`, `Refusal`,
    `SettingsRefused` or an error of `certs` becomes one line on stderr and an exit code.
    """
    return _ended(service, lambda: _serve(start), log_level)


def run_once(service: str, work: Callable[[], Coroutine[Any, Any, None]], log_level: str = "info") -> int:
    """Run `work()`, a command upon a service's own state, to its end; the exit code, of the same errors as `run`."""
    try:
        return _ended(service, work, log_level)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Have `work` run until the stack unwinds, which cancels it. It is not to fail; where it does, the log says so."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_failure)

    async def cancel() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(cancel)
    return task


def notify(state: str) -> None:
    """Tell the supervisor how the process stands (`READY=1`, `STOPPING=1`), where it asked to be told.

    The protocol is systemd's sd_notify: a datagram to the socket that NOTIFY_SOCKET names. A supervisor that is gone is
    no reason to fail, least of all while stopping.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(state.encode())
        except OSError as error:
            _log.warning("the supervisor does not hear", state=state, error=str(error))


def _ended(service: str, work: Callable[[], Coroutine[Any, Any, None]], log_level: str) -> int:
    from mesh.errors import Refusal  # with grpc, which whoever only needs `notify` does without

    try:
        telemetry.configure_logging(service, log_level)
        asyncio.run(work())
    except Stopped as stopped:
        return _fail(service, stopped.code, str(stopped))
    except (SettingsRefused, ValueError) as error:
        return _fail(service, Exit.USAGE, str(error))
    except (CertsError, OSError, Refusal) as error:
        return _fail(service, Exit.SERVICE_FAILED, str(error))
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Exit.OK


async def _serve(start: Start) -> None:
    gc.set_threshold(*_COLLECT_AFTER)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _watch_lifeline(loop, stop)
    stack = AsyncExitStack()
    starting = asyncio.ensure_future(start(stack))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            gc.freeze()  # what is there now stays until the end: nobody need look through it
            notify("READY=1")
            await stopping
    finally:
        notify("STOPPING=1")
        await _unwind(starting, stack)


async def _unwind(starting: asyncio.Future[None], stack: AsyncExitStack) -> None:
    # Also what holds up the event loop itself, or a thread that is waited for after it, must not last for ever.
    faulthandler.dump_traceback_later(STOP_DEADLINE + END_DEADLINE, exit=True, file=_STDERR)
    try:
        async with asyncio.timeout(STOP_DEADLINE):
            # What is still starting must have left on the stack all that it will.
            starting.cancel()
            await asyncio.wait((starting,))
            await stack.aclose()
    except TimeoutError:
        _log.error("it did not stop in time", deadline=STOP_DEADLINE)


def _watch_lifeline(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when the supervisor is gone: the other end of the pipe MOORAGE_LIFELINE_FD is open while it lives."""

    def gone(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        stop.set()

    descriptor = os.environ.pop("MOORAGE_LIFELINE_FD", "")
    if descriptor:
        loop.add_reader(int(descriptor), gone, int(descriptor))


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background work failed", exc_info=error)


def _fail(service: str, code: Exit, message: str) -> int:
    sys.stderr.write(f"{service}: {' '.join(message.split())}\n")
    return code

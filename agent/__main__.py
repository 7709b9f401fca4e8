"""The agent's process: `python -m agent --config FILE`, which is `moorage agent run --config FILE`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path

from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from agent.agent import Agent
from agent.cache import Applied, Cache, CacheRefused
from agent.credentials import Credentials
from agent.disk import Disk
from agent.home import Home
from agent.hook import Hook
from agent.identity import TOKEN_VARIABLE, identity_to_start_with
from agent.plane import Plane
from agent.settings import AgentSettings
from certs.clock import system_clock
from certs.identity import Identity
from mesh import telemetry
from mesh.exits import Exit, Stopped
from mesh.run import run
from mesh.settings import load_settings

_log = telemetry.logger("agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; SIGHUP renews the certificate. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Run a Runtime's agent.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [agent]")
    parser.add_argument("--token-stdin", action="store_true", help="read the one-time token from standard input")
    arguments = parser.parse_args(argv)
    token = sys.stdin.readline(_MAX_LINE) if arguments.token_stdin else None
    variable = os.environ.pop(TOKEN_VARIABLE, None)  # it is for the agent alone, and not for its hooks
    return run("agent", partial(_start, arguments.config, token, variable))


async def _start(config: Path | None, token: str | None, variable: str | None, stack: AsyncExitStack) -> None:
    settings = load_settings(AgentSettings, "agent", config, os.environ)
    telemetry.configure_logging("agent", settings.log_level)
    home = Home(settings.home.absolute())
    stack.enter_context(home.occupied())
    loaded = await identity_to_start_with(home, settings.runtime_id, settings.token_file, token, system_clock, variable)
    cache = Cache(home.configuration, Disk())
    with _home_in_use():
        applied = _opened(cache)
    fixed = PlaneAddresses(director=settings.director, connector=settings.connector)
    plane = Plane(Identity(home.identity), fixed, home.addresses())
    stack.push_async_callback(plane.close)
    credentials = Credentials(home.credentials, loaded.spiffe_id.name, plane.director)
    with _home_in_use():
        credentials.open()
    hook = Hook(settings.hook, settings.hook_timeout, _environ_of_hook(home))
    agent = Agent(metadata.version("moorage"), home, loaded, plane, cache, applied, credentials, hook, system_clock)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, agent.renew_now)
    _run_in_background(agent, stack)


def _environ_of_hook(home: Home) -> dict[str, str]:
    # The agent alone tells its supervisor how it stands.
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return {**environ, "MOORAGE_CREDENTIALS": str(home.credentials)}


def _opened(cache: Cache) -> Applied | None:
    try:
        return cache.open()
    except CacheRefused as error:
        _log.error("the configuration on disk is not what was applied, and was removed", reason=str(error))
        return None


@contextmanager
def _home_in_use() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Stopped(Exit.HOME_NOT_WRITABLE, f"{error.filename} cannot be used: {error.strerror}") from error


def _run_in_background(agent: Agent, stack: AsyncExitStack) -> None:
    """Run the agent until the stack unwinds, and stop the process when it ends by itself."""

    async def stop() -> None:
        task.remove_done_callback(stop_process)
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()

    def stop_process(_: asyncio.Task[None]) -> None:
        signal.raise_signal(signal.SIGTERM)

    task = asyncio.create_task(agent.run())
    task.add_done_callback(stop_process)
    stack.push_async_callback(stop)


_MAX_LINE = 4096

if __name__ == "__main__":
    sys.exit(main())

"""The `process` driver: each Runtime's agent is a supervised process on this machine.

A Runtime has the folder RUNTIMES/RUNTIME_ID, for the Provisioner's user alone: `agent.toml`, `token` (the one-time
token), `agent.log`, `agent.stat` (which process it is), and whatever the agent keeps there. The token reaches the agent
by this file only: arguments and environments can be read by others.
"""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certs import files
from mesh import telemetry
from mesh.errors import Refusal
from mesh.exits import Exit
from provisioner.drivers.child import Program
from provisioner.drivers.contract import DriverFailed
from provisioner.drivers.supervisor import Supervisor

_UNINVITED = {Exit.REFUSED, Exit.TOKEN_MALFORMED, Exit.TOKEN_REFUSED}
"""What an agent exits with that needs a new token: its identity ended while it was off, or its token did."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_log = telemetry.logger("driver")


def agent_command(configuration: Path) -> Sequence[str]:
    """How the real agent is run; without its working directory among the places that modules come from."""
    return (sys.executable, "-P", "-m", "agent", "--config", str(configuration))


@dataclass(frozen=True)
class AgentSettings:
    """What every agent is told, beside who it is. Addresses are as `mesh.address` reads them."""

    director: str
    connector: str
    hook: Sequence[str] = ()
    log_level: str = "info"


class ProcessDriver:
    """Implements `Driver` with processes of this machine.

    `environ` is the Provisioner's own environment, of which agents get what is not addressed to the Provisioner.
    Agents are stopped by `close` where `stop_on_close` is set, and otherwise run on, to be taken over by `resume`.
    `invite(runtime_id)` gives a new one-time token: an agent that the plane was away from for longer than its identity
    lasts is let in again by itself. It raises `Refusal` where there is none to be had.
    """

    def __init__(
        self,
        runtimes: Path,
        agents: AgentSettings,
        *,
        environ: Mapping[str, str],
        stop_on_close: bool,
        stop_grace: float,
        invite: Callable[[str], Awaitable[str]],
        command: Callable[[Path], Sequence[str]] = agent_command,
        supervise: Callable[..., Supervisor] = Supervisor,
    ) -> None:
        self._runtimes = runtimes
        self._agents = agents
        self._environ = {name: value for name, value in environ.items() if not _is_addressed_to_us(name)}
        self._stop_on_close = stop_on_close
        self._stop_grace = stop_grace
        self._invite = invite
        self._command = command
        self._supervise = supervise
        self._supervisors: dict[str, Supervisor] = {}

    async def prepare(self, runtime_id: str, token: str) -> None:
        """Make the folder and write the token; an earlier token is replaced. Raises `DriverFailed`."""
        folder = self._folder(runtime_id)

        def write() -> None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(folder / "token", token.encode() + b"\n", files.PRIVATE)

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            raise _failed("its folder cannot be made", error) from error

    async def start(self, runtime_id: str) -> None:
        """Start the agent, or take over the one that runs. Raises `DriverFailed`."""
        if runtime_id in self._supervisors:
            return
        supervisor = self._new_supervisor(runtime_id)
        try:
            await self._configure(runtime_id, supervisor)
            supervisor.start()
        except OSError as error:
            raise _failed("its agent cannot be started", error) from error
        self._supervisors[runtime_id] = supervisor

    async def stop(self, runtime_id: str) -> None:
        """Stop the agent: SIGTERM to its process group, and SIGKILL after the grace. Raises `DriverFailed`."""
        supervisor = self._supervisors.pop(runtime_id, None) or self._new_supervisor(runtime_id)
        try:
            await supervisor.stop(self._stop_grace)
        except TimeoutError as error:
            raise DriverFailed("its agent was killed and does not end") from error

    async def remove(self, runtime_id: str) -> None:
        """Stop the agent and delete its folder. Raises `DriverFailed`."""
        await self.stop(runtime_id)
        folder = self._folder(runtime_id)
        try:
            if folder.is_dir():
                await asyncio.to_thread(shutil.rmtree, folder)
        except OSError as error:
            raise _failed("its folder cannot be deleted", error) from error

    def trouble(self, runtime_id: str) -> str:
        """What last ended the agent or kept it from starting; else the last line of its log, if there is any."""
        supervisor = self._supervisors.get(runtime_id)
        if supervisor is None:
            return "it is not started"
        last_line = supervisor.last_line()
        return supervisor.trouble or (f"it runs, saying: {last_line}" if last_line else "")

    async def resume(self, runtime_ids: Collection[str]) -> None:
        """Take over the agents that still run, and start the others; an agent whose addresses changed is restarted."""
        await asyncio.gather(*(self._resume(each) for each in runtime_ids if each not in self._supervisors))

    async def close(self) -> None:
        """Stop all agents, or let them run on."""
        supervisors = list(self._supervisors.values())
        self._supervisors.clear()
        if self._stop_on_close:
            await asyncio.gather(*(each.stop(self._stop_grace) for each in supervisors))
        else:
            await asyncio.gather(*(each.release() for each in supervisors))

    async def _resume(self, runtime_id: str) -> None:
        supervisor = self._supervisors[runtime_id] = self._new_supervisor(runtime_id)
        try:
            await self._configure(runtime_id, supervisor)
            supervisor.start()
        except OSError as error:
            supervisor.trouble = f"it cannot be started: {error.strerror or type(error).__name__}"
            _log.error("an agent cannot be started", runtime_id=runtime_id, error=str(error))
            supervisor.keep()

    async def _configure(self, runtime_id: str, supervisor: Supervisor) -> None:
        """Write the agent's configuration; an agent that runs with another one is stopped."""
        file = self._folder(runtime_id) / "agent.toml"
        content = self._configuration(runtime_id)
        if not file.exists() or file.read_bytes() != content:
            await supervisor.stop(self._stop_grace)
            await asyncio.to_thread(files.replace, file, content, files.PRIVATE)

    def _configuration(self, runtime_id: str) -> bytes:
        folder = self._folder(runtime_id)
        values: dict[str, str | list[str]] = {
            "runtime_id": runtime_id,
            "home": str(folder),
            "token_file": str(folder / "token"),
            "director": self._agents.director,
            "connector": self._agents.connector,
            "log_level": self._agents.log_level,
        }
        if self._agents.hook:
            values["hook"] = list(self._agents.hook)
        # Strings and lists of strings are written alike in JSON and TOML, save that TOML escapes DEL too.
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items()]
        return "".join(["[agent]\n", *lines]).replace("\x7f", "\\u007f").encode()

    def _new_supervisor(self, runtime_id: str) -> Supervisor:
        folder = self._folder(runtime_id)
        program = Program(
            command=self._command(folder / "agent.toml"),
            folder=folder,
            log=folder / "agent.log",
            environ=self._environ,
        )
        return self._supervise(program, folder / "agent.stat", on_ended=partial(self._invite_again, runtime_id))

    async def _invite_again(self, runtime_id: str, status: int | None) -> None:
        """Give an agent a new token that ended for want of an identity; where that fails, the next end tries again."""
        if status not in _UNINVITED:
            return
        try:
            await self.prepare(runtime_id, await self._invite(runtime_id))
        except (Refusal, DriverFailed) as error:
            _log.warning("an agent without identity gets no token", runtime_id=runtime_id, error=str(error))
        else:
            _log.info("an agent without identity gets a new token", runtime_id=runtime_id)

    def _folder(self, runtime_id: str) -> Path:
        # Another service gave the id, and what it leads to will be deleted: so it leads to one folder in here.
        if not _UUID.fullmatch(runtime_id):
            raise DriverFailed(f"{runtime_id!r} is no UUID")
        return self._runtimes / runtime_id


def _is_addressed_to_us(variable: str) -> bool:
    # Settings of the services and what their supervisor tells them by; an agent has its own file.
    return variable.startswith("MOORAGE_") or variable in {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"}


def _failed(what: str, error: OSError) -> DriverFailed:
    _log.error("driver failed", what=what, error=str(error))
    return DriverFailed(f"{what}: {error.strerror or type(error).__name__}")

"""What the demo's story happens on: a plane of its own, httpbin, the webhook, and the parties that were met so far."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cli.demo.party import Party
from cli.demo.receiver import WebhookReceiver
from cli.plane.home import Home
from cli.plane.plane_file import Plane, read_plane
from cli.plane.settings_file import write_settings
from cli.plane.supervisor import Program, Supervisor

EVENT_URL = "https://runtime.demo.example/events"

_STARTED_WITHIN = 40.0
_STOPPED_WITHIN = 20.0
_ENDED_WITHIN = 15.0
_LOOK_EVERY = 0.05


class Stage:
    """Built up by the steps as they succeed. `close` ends all that was started, however far the story came."""

    def __init__(self, home: Home, environ: Mapping[str, str], runtime_lifetime: float) -> None:
        self.home = home
        self.folder = home.root / "demo"
        self.runtime_lifetime = runtime_lifetime
        """Seconds that a Runtime's certificate lives: so few that one is renewed before the story ends."""
        self.receiver = WebhookReceiver()
        self.application_id = ""
        self.api_id = ""
        self.event_api_id = ""
        self.group_id = ""
        self.runtime_id = ""
        self.token = ""
        self._environ = environ
        self._programs: list[Supervisor] = []
        self._parties: dict[Path, Party] = {}
        self._httpbin_socket: socket.socket | None = None

    @property
    def plane(self) -> Plane:
        """The running plane's addresses, which stay the same when it is started again."""
        return read_plane(self.home.plane)

    @property
    def admin(self) -> Party:
        """The administrator."""
        return self._party(self.home.identity("admin"))

    @property
    def application(self) -> Party:
        """The Application, once it has enrolled."""
        return self._party(self.application_folder)

    @property
    def application_folder(self) -> Path:
        """Where the Application keeps its identity."""
        return self.folder / "application"

    @property
    def agent_folder(self) -> Path:
        """The home of the Runtime's agent."""
        return self.home.service("provisioner") / "runtimes" / self.runtime_id

    @property
    def httpbin_url(self) -> str:
        """Where httpbin answers."""
        assert self._httpbin_socket is not None  # noqa: S101 - start_httpbin comes first
        return f"http://127.0.0.1:{self._httpbin_socket.getsockname()[1]}"

    async def start_plane(self) -> None:
        """Run `moorage up`, as a user would, and again whenever it dies; return when it is ready."""
        self.folder.mkdir(mode=0o700, parents=True)
        settings = self.folder / "settings.toml"
        write_settings(settings, {"connector": {"runtime_lifetime": self.runtime_lifetime}})
        up = ("up", "--home", str(self.home.root), "--port", "0", "--config", str(settings))
        await self._start(Program("up", (sys.executable, "-P", "-m", "cli", *up), self.folder / "up.log"))

    async def start_httpbin(self) -> None:
        """Serve httpbin on a port that stays its own; return when it answers."""
        self._httpbin_socket = socket.create_server(("127.0.0.1", 0))
        descriptor = self._httpbin_socket.fileno()
        arguments = (sys.executable, "-P", "-m", "cli.demo.httpbin", str(descriptor))
        await self._start(Program("httpbin", arguments, self.folder / "httpbin.log"), descriptor)

    async def close(self) -> None:
        """Stop everything; whatever of it still runs after that is killed."""
        await self.stop()
        for pid in await self.left_running(after=_ENDED_WITHIN):
            os.kill(pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Stop everything, each in its own good way."""
        for party in self._parties.values():
            await party.close()
        self._parties.clear()
        while self._programs:
            await self._programs.pop().stop(_STOPPED_WITHIN)
        await self.receiver.close()
        if self._httpbin_socket is not None:
            self._httpbin_socket.close()

    async def left_running(self, *, after: float) -> list[int]:
        """Processes of this story, those with its home in their arguments, that have not ended `after` seconds."""
        last = time.monotonic() + after
        while True:
            pids = self._processes()
            if not pids or time.monotonic() > last:
                return pids
            await asyncio.sleep(_LOOK_EVERY)

    def _processes(self) -> list[int]:
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and self._is_ours(entry)]
        return [int(entry.name) for entry in entries if int(entry.name) != os.getpid()]

    def _is_ours(self, process: Path) -> bool:
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:
            return False  # it has ended, or is somebody else's
        return os.fsencode(self.home.root) + b"/" in arguments

    def _party(self, folder: Path) -> Party:
        if folder not in self._parties:
            self._parties[folder] = Party(folder, self.plane)
        return self._parties[folder]

    async def _start(self, program: Program, *descriptors: int) -> None:
        def tell(line: str) -> None:
            with program.log.open("a") as log:
                log.write(f"demo: {line}\n")

        supervisor = Supervisor([program], environ=self._environ, inherited=descriptors, tell=tell)
        self._programs.append(supervisor)
        await supervisor.start(_STARTED_WITHIN)

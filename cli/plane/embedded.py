"""The embedded plane from start to stop: one call that lasts as long as the plane runs."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certs.clock import system_clock
from cli.plane.home import SERVICES, Home
from cli.plane.plane_file import Plane, read_plane
from cli.plane.ports import ListenAddress, Ports, at, at_each, check_free, free_ports
from cli.plane.settings_file import (
    merged,
    ports_in,
    read_overrides,
    settings_of,
    variables_of_directors,
    write_settings,
)
from cli.plane.supervisor import LIFELINE, Program, Supervisor
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from cli.plane.bootstrap import PlaneIdentities

READY_WITHIN = 20.0
READY_MORE = 10.0
"""Seconds more for each further Director: all start at once, and may have one core between them."""

STOP_WITHIN = 12.0
"""Seconds: a little more than a service gives itself (mesh.run.STOP_DEADLINE)."""

_LOOK_EVERY = timedelta(seconds=30)
"""How often it is looked whether certificates have come to their end. The machine may have slept meanwhile."""


@dataclass(frozen=True)
class Choices:
    """What `moorage up` was told; `port` 0 stands for free ports."""

    home: Home
    listen: ListenAddress
    port: int
    passphrase_file: Path | None = None
    trust_domain: str | None = None
    config: Path | None = None
    directors: int = 1


def run_plane(
    choices: Choices, environ: Mapping[str, str], *, ready: Callable[[Plane], None], tell: Callable[[str], None]
) -> None:
    """Run the plane until SIGTERM, SIGINT or the end of the process that started this one.

    `ready` is called once, when every service answers; `tell` is given a line on what happens later. Raises
    `Stopped` where the plane cannot start; then, as after a stop, none of its processes is left.
    """
    home = choices.home
    os.umask(0o077)  # whatever the services write, too
    home.prepare()
    try:
        with home.claimed(), home.services_claimed(_left_over(home)) as claim:
            home.plane.unlink(missing_ok=True)
            asyncio.run(_run(choices, environ, claim, ready, tell))
    except OSError as error:
        if error.filename is None:
            raise
        raise Stopped(
            Exit.HOME_NOT_WRITABLE,
            f"{error.filename} cannot be used ({error.strerror}): mend it, or choose another --home",
        ) from error


async def _run(
    choices: Choices,
    environ: Mapping[str, str],
    claim: int,
    ready: Callable[[Plane], None],
    tell: Callable[[str], None],
) -> None:
    home = choices.home
    with _stop_asked(environ) as stop:
        ports = _settled_ports(choices)
        settings = settings_of(home, choices.listen, ports, choices.passphrase_file)
        settings = merged(settings, read_overrides(choices.config))
        variables = variables_of_directors(home, choices.listen, ports, settings, environ)
        identities = _identities(choices)
        write_settings(home.settings, settings)
        plane = _Published(choices, ports, identities)
        supervisor = Supervisor(
            [
                *(_program(home, service, service) for service in SERVICES),
                *(_program(home, name, "director", of_its_own) for name, of_its_own in variables.items()),
            ],
            environ=environ,
            inherited=[claim],
            tell=tell,
            changed=plane.update,
        )
        try:
            within = READY_WITHIN + READY_MORE * (choices.directors - 1)
            if not await stop.comes_after(supervisor.start(within)):
                return
            ready(plane.publish(supervisor))
            _notify(environ, "READY=1")
            await stop.comes_after(_keep_signed(identities, lambda: supervisor.restart("connector"), tell))
        finally:
            stop.when_asked_again(supervisor.kill)
            try:
                plane.withdraw()
            finally:
                await supervisor.stop(STOP_WITHIN)


def _settled_ports(choices: Choices) -> Ports:
    if choices.port:
        ports = Ports.following(choices.port, choices.directors)
        check_free(choices.listen, ports)
        return ports
    return free_ports(choices.listen, ports_in(choices.home.settings), directors=choices.directors)


def _identities(choices: Choices) -> "PlaneIdentities":
    # Loaded late: `cryptography` is the slowest import of this command, and what is wrong with the command line
    # should be said before it.
    from cli.plane.bootstrap import PlaneIdentities, open_authority, read_passphrase

    passphrase = read_passphrase(choices.passphrase_file)
    authority = open_authority(choices.home, choices.trust_domain, passphrase, system_clock)
    identities = PlaneIdentities(choices.home, authority, choices.listen, system_clock, choices.directors)
    identities.sign_missing()
    return identities


async def _keep_signed(identities: "PlaneIdentities", signed: Callable[[], None], tell: Callable[[str], None]) -> None:
    # For as long as the plane runs. All renew through the Connector, unless they slept through their time; the services
    # see certificates that are signed anew by themselves. `signed` has the Connector take them into its ledger.
    from certs.errors import CertsError

    while True:
        await asyncio.sleep(_LOOK_EVERY.total_seconds())
        try:
            names = await asyncio.to_thread(identities.sign_missing)
        except (OSError, CertsError) as error:
            tell(f"certificates were not looked after ({error}); trying again")
        else:
            if names:
                tell(f"signed anew, since they had ended or could not be used: the certificates of {', '.join(names)}")
                signed()


def _notify(environ: Mapping[str, str], state: str) -> None:
    # Whoever runs `moorage up` may want to know as well: systemd with Type=notify, or `moorage demo`.
    if environ.get("NOTIFY_SOCKET"):
        from mesh.run import notify

        notify(state)


def _program(home: Home, name: str, service: str, environ: Mapping[str, str] | None = None) -> Program:
    # -P: a folder of the same name in the current directory must not stand in for the service.
    arguments = (sys.executable, "-P", "-m", service, "--config", str(home.settings))
    return Program(name, arguments, home.log(name), environ or {})


def _left_over(home: Home) -> Mapping[str, int]:
    try:
        return {name: pid for name, pid in read_plane(home.plane).pids.items() if name != "up"}
    except Stopped:
        return {}


class _Published:
    """`plane.json`, kept true from `publish` to `withdraw`."""

    def __init__(self, choices: Choices, ports: Ports, identities: "PlaneIdentities") -> None:
        self._file = choices.home.plane
        self._addresses = {
            name: at(choices.listen, getattr(ports, name)) for name in ("connector", "enrolment", "provisioner")
        }
        self._addresses["director"] = at_each(choices.listen, ports.directors)
        self._identities = identities
        self._supervisor: Supervisor | None = None

    def publish(self, supervisor: Supervisor) -> Plane:
        self._supervisor = supervisor
        return self._write(supervisor)

    def update(self) -> None:
        if self._supervisor is not None:
            self._write(self._supervisor)

    def withdraw(self) -> None:
        self._supervisor = None
        self._file.unlink(missing_ok=True)

    def _write(self, supervisor: Supervisor) -> Plane:
        plane = Plane(
            **self._addresses,
            trust_domain=self._identities.authority.trust_domain,
            root_sha256=self._identities.root_sha256,
            pids={"up": os.getpid(), **supervisor.pids},
        )
        plane.write(self._file)
        return plane


class _Stop:
    """The wish that the plane stop, which may come at any time, and more than once."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._again: Callable[[], None] | None = None

    def ask(self) -> None:
        self._asked.set()
        if self._again is not None:
            self._again()

    def when_asked_again(self, act: Callable[[], None]) -> None:
        """From now on, a wish to stop means: at once."""
        self._again = act

    async def comes_after(self, work: Awaitable[None]) -> bool:
        """Wait for `work`; True if it ended, False if the wish to stop came first and `work` was cancelled."""
        task, asked = asyncio.ensure_future(work), asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return task.done()
        finally:
            for each in (task, asked):
                each.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)


@contextmanager
def _stop_asked(environ: Mapping[str, str]) -> Iterator[_Stop]:
    stop = _Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.ask)
    lifeline = int(environ.get(LIFELINE, "-1"))
    if lifeline >= 0:
        os.set_inheritable(lifeline, False)  # it is for this process; the services get one of their own
        loop.add_reader(lifeline, lambda: _lifeline_ended(loop, lifeline, stop))
    yield stop


def _lifeline_ended(loop: asyncio.AbstractEventLoop, lifeline: int, stop: _Stop) -> None:
    loop.remove_reader(lifeline)
    stop.ask()

"""The process driver, with real processes: one agent a Runtime, whatever happens to it or to the Provisioner."""

import asyncio
import os
import signal
import stat
import sys
import tomllib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moorage.errors.v1.errors_pb2 import Reason

from mesh.backoff import Backoff
from mesh.errors import Refusal
from provisioner.drivers.contract import DriverFailed
from provisioner.drivers.process import AgentSettings, ProcessDriver, agent_command
from provisioner.drivers.supervisor import Supervisor

DEADLINE = 20.0
WORKLOAD = Path(__file__).with_name("workload.py")
RUNTIME = "f8e37fa1-8fc3-40ed-8a53-9627dd3b8675"


@dataclass
class Host:
    """A machine's worth of workloads: where they are, and what they say."""

    home: Path
    events: asyncio.StreamReader
    drivers: list[ProcessDriver] = field(default_factory=list)
    backoff: Backoff = field(default_factory=lambda: Backoff(timedelta(milliseconds=10), timedelta(milliseconds=10)))
    healthy: timedelta = timedelta(hours=1)
    invitations: list[str] = field(default_factory=list)
    closed: bool = False
    fault: Exception | None = None

    @property
    def folder(self) -> Path:
        return self.home / "runtimes" / RUNTIME

    def driver(
        self, *, director: str = "127.0.0.1:7443", hook: Sequence[str] = (), stop_on_close: bool = False
    ) -> ProcessDriver:
        driver = ProcessDriver(
            self.home / "runtimes",
            AgentSettings(director=director, connector="127.0.0.1:7444", hook=hook),
            environ={"PATH": os.environ["PATH"], "MOORAGE_PROVISIONER_LISTEN": "x", "NOTIFY_SOCKET": "/x", "LANG": "C"},
            stop_on_close=stop_on_close,
            stop_grace=DEADLINE,
            command=lambda configuration: (
                sys.executable,
                "-S",
                str(WORKLOAD),
                str(configuration),
                str(self.home / "events"),
            ),
            invite=self.invite,
            supervise=lambda program, note, on_ended: Supervisor(program, note, self.backoff, self.healthy, on_ended),
        )
        self.drivers.append(driver)
        return driver

    async def invite(self, runtime_id: str) -> str:
        self.invitations.append(runtime_id)
        if self.fault:
            raise self.fault
        if self.closed:
            raise Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "there is no such runtime")
        return "moor_again"

    async def started(self) -> int:
        """The process id of the next workload that says that it has started."""
        return await self.said("started")

    async def said(self, event: str) -> int:
        async with asyncio.timeout(DEADLINE):
            line = (await self.events.readline()).decode().split()
        assert line[0] == event
        return int(line[1])

    def say(self, event: str) -> None:
        """Put an event after all that workloads have told."""
        with (self.home / "events").open("a") as pipe:
            pipe.write(f"{event}\n")

    def ways(self, *ways: str) -> None:
        (self.folder / "ways").write_text(" ".join(ways))

    def configuration(self) -> dict[str, Any]:
        agent: dict[str, Any] = tomllib.loads((self.folder / "agent.toml").read_text())["agent"]
        return agent


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    os.mkfifo(tmp_path / "events")
    reader = asyncio.StreamReader()
    # Opened for writing as well, so that it does not end with the first workload.
    pipe = os.fdopen(os.open(tmp_path / "events", os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    host = Host(tmp_path, reader)
    yield host
    for driver in reversed(host.drivers):  # the one at work first: it would start again what another one ends
        await driver.remove(RUNTIME)
    transport.close()


async def has_ended(pid: int) -> None:
    """Wait until a process that need not be our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def of_process(pid: int, file: str) -> Path:
    return Path(f"/proc/{pid}/{file}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_workload_runs_in_a_folder_and_a_session_of_its_own(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    pid = await host.started()
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert of_process(pid, "cwd").readlink() == host.folder


async def test_all_that_is_written_is_readable_by_its_owner_only(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    await host.started()
    assert mode(host.folder) == 0o700
    assert {name: mode(host.folder / name) for name in ("agent.toml", "agent.log", "token")} == {
        "agent.toml": 0o600,
        "agent.log": 0o600,
        "token": 0o600,
    }


async def test_the_token_is_in_its_file_and_neither_in_arguments_nor_environment(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    pid = await host.started()
    assert (host.folder / "token").read_text() == "moor_secret\n"
    for file in ("cmdline", "environ"):
        assert b"moor_secret" not in of_process(pid, file).read_bytes()


async def test_what_is_addressed_to_the_provisioner_does_not_reach_the_workload(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    environ = of_process(await host.started(), "environ").read_bytes()
    assert b"LANG=C" in environ
    assert b"MOORAGE_" not in environ
    assert b"NOTIFY_SOCKET" not in environ


async def test_the_agent_is_told_who_it_is_where_the_plane_is_and_what_to_run(host: Host) -> None:
    hook = ["/opt/re load", 'say "\u20ac\x7f"']
    driver = host.driver(director="[::1]:7443", hook=hook)
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    await host.started()
    assert host.configuration() == {
        "runtime_id": RUNTIME,
        "home": str(host.folder),
        "token_file": str(host.folder / "token"),
        "director": "[::1]:7443",
        "connector": "127.0.0.1:7444",
        "log_level": "info",
        "hook": hook,
    }


async def test_the_real_agent_is_run_with_its_configuration_and_nothing_else() -> None:
    configuration = Path("/somewhere/agent.toml")
    assert agent_command(configuration)[-4:] == ("-m", "agent", "--config", str(configuration))


async def test_a_workload_that_is_started_twice_runs_once(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    pid = await host.started()
    await driver.start(RUNTIME)
    await driver.remove(RUNTIME)
    assert not runs(pid)
    host.say("end 0")
    await host.said("end")


async def test_a_workload_that_ends_is_started_again(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    first = await host.started()
    os.kill(first, signal.SIGKILL)
    assert await host.started() != first
    assert driver.trouble(RUNTIME) == "it ended once, the last time with status -9"


async def test_of_a_workload_that_runs_the_last_that_it_said_is_told(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    await host.started()
    assert driver.trouble(RUNTIME) == ""
    (host.folder / "agent.log").write_text("first\nno way to the Director\n")
    assert driver.trouble(RUNTIME) == "it runs, saying: no way to the Director"


async def test_a_workload_that_ends_for_want_of_an_identity_gets_a_new_token(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert set(host.invitations) == {RUNTIME}
    assert (host.folder / "token").read_text() == "moor_again\n"
    assert mode(host.folder / "token") == 0o600


async def test_a_workload_that_is_not_let_in_again_is_started_all_the_same(host: Host) -> None:
    host.closed = True
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert set(host.invitations) == {RUNTIME}


async def test_a_workload_that_ends_otherwise_gets_no_new_token(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    os.kill(await host.started(), signal.SIGKILL)
    await host.started()
    assert host.invitations == []
    assert (host.folder / "token").read_text() == "moor_secret\n"


class Recorded(Backoff):
    """Remembers what it was asked for, and has nobody wait."""

    def __init__(self) -> None:
        super().__init__(timedelta(seconds=1), timedelta(seconds=60))
        self.asked: list[str] = []

    def next(self, at_least: timedelta | None = None) -> float:
        self.asked.append("next")
        return 0

    def reset(self) -> None:
        self.asked.append("reset")


@pytest.mark.parametrize(
    ("healthy", "asked"),
    [(timedelta(hours=1), ["next", "next"]), (timedelta(0), ["reset", "next", "reset", "next"])],
    ids=["short-lived", "healthy"],
)
async def test_a_workload_is_restarted_later_and_later_until_it_has_lasted(
    host: Host, healthy: timedelta, asked: list[str]
) -> None:
    host.backoff = recorded = Recorded()
    host.healthy = healthy
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    for _ in range(2):
        os.kill(await host.started(), signal.SIGKILL)
    await host.started()
    assert recorded.asked == asked


async def test_how_a_workload_ends_is_told_with_its_last_words(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert driver.trouble(RUNTIME).endswith("with status 14, saying: agent: the token was refused")


async def test_what_a_workload_that_ended_has_left_running_ends_too(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("parent")
    await driver.start(RUNTIME)
    child = await host.said("child")
    os.kill(await host.started(), signal.SIGKILL)
    await has_ended(child)


async def test_a_provisioner_that_comes_back_takes_over_the_workload_that_runs(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.resume([RUNTIME])
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
    assert await host.started() != pid


async def test_a_workload_taken_over_can_be_removed(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.resume([RUNTIME])
    await after.remove(RUNTIME)
    assert not runs(pid)


async def test_a_workload_that_was_never_taken_over_can_be_removed(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.remove(RUNTIME)
    assert not runs(pid)
    assert not host.folder.exists()


async def test_a_provisioner_that_comes_back_starts_the_workload_that_ended_meanwhile(host: Host) -> None:
    before, after = host.driver(), host.driver()
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    os.kill(pid, signal.SIGKILL)
    await has_ended(pid)
    await after.resume([RUNTIME])
    assert await host.started() != pid


async def test_a_stranger_that_was_given_the_same_process_id_is_left_alone(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    line = of_process(stranger.pid, "stat").read_text().split()
    line[21] = str(int(line[21]) - 1)
    (host.folder / "agent.stat").write_text(" ".join(line))
    try:
        await driver.resume([RUNTIME])
        pid = await host.started()
        await driver.remove(RUNTIME)
        assert stranger.returncode is None
        assert not runs(pid)
    finally:
        stranger.kill()
        await stranger.wait()


@pytest.mark.parametrize("note", ["", "77 (python) S 1", f"{2**70} (x) S {' '.join('1' * 40)}"])
async def test_a_note_that_was_cut_short_is_like_none(host: Host, note: str) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    (host.folder / "agent.stat").write_text(note)
    await driver.resume([RUNTIME])
    await host.started()


async def test_a_fault_in_the_search_for_a_new_token_does_not_keep_the_workload_down(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("fail")
    host.fault = ZeroDivisionError("on purpose")
    await driver.start(RUNTIME)
    await host.started()
    await host.started()
    assert host.invitations


@pytest.mark.parametrize(
    "runtime_id", ["", ".", "..", "../../etc", "/etc", RUNTIME.upper(), f"{RUNTIME}/..", f"{RUNTIME}\n"]
)
async def test_an_id_that_leads_anywhere_else_is_refused_and_nothing_is_deleted(host: Host, runtime_id: str) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    with pytest.raises(DriverFailed, match="is no UUID"):
        await driver.prepare(runtime_id, "moor_other")
    with pytest.raises(DriverFailed, match="is no UUID"):
        await driver.remove(runtime_id)
    assert (host.folder / "token").read_text() == "moor_secret\n"


async def test_a_workload_whose_plane_has_moved_is_started_again_with_the_new_addresses(host: Host) -> None:
    before, after = host.driver(), host.driver(director="127.0.0.1:17443")
    await before.prepare(RUNTIME, "moor_secret")
    await before.start(RUNTIME)
    pid = await host.started()
    await before.close()
    await after.resume([RUNTIME])
    assert await host.started() != pid
    assert not runs(pid)
    assert host.configuration()["director"] == "127.0.0.1:17443"


async def test_workloads_stop_with_the_provisioner_where_that_is_set(host: Host) -> None:
    driver = host.driver(stop_on_close=True)
    await driver.prepare(RUNTIME, "moor_secret")
    await driver.start(RUNTIME)
    pid = await host.started()
    await driver.close()
    assert not runs(pid)
    assert host.folder.exists()


async def test_a_workload_that_does_not_stop_by_itself_is_killed_with_its_children(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    host.ways("stubborn", "parent")
    await driver.start(RUNTIME)
    child, pid = await host.said("child"), await host.started()
    impatient = ProcessDriver(
        host.home / "runtimes",
        AgentSettings("", ""),
        environ={},
        stop_on_close=False,
        stop_grace=0.01,
        invite=host.invite,
    )
    await driver.close()
    await impatient.remove(RUNTIME)
    assert not runs(pid)
    await has_ended(child)


async def test_removing_what_is_not_there_is_fine(host: Host) -> None:
    await host.driver().remove(RUNTIME)


async def test_a_folder_that_cannot_be_made_is_the_drivers_failure(host: Host) -> None:
    driver = host.driver()
    (host.home / "runtimes").write_text("in the way")
    with pytest.raises(DriverFailed, match="its folder cannot be made: Not a directory"):
        await driver.prepare(RUNTIME, "moor_secret")


async def test_a_workload_that_was_not_prepared_cannot_be_started(host: Host) -> None:
    with pytest.raises(DriverFailed, match="its agent cannot be started: No such file or directory"):
        await host.driver().start(RUNTIME)


async def test_one_workload_that_cannot_be_resumed_does_not_hold_up_the_others(host: Host) -> None:
    driver = host.driver()
    await driver.prepare(RUNTIME, "moor_secret")
    lost = str(uuid.uuid4())
    await driver.resume([lost, RUNTIME])
    await host.started()
    assert driver.trouble(lost) == "it cannot be started: No such file or directory"
    await driver.stop(lost)

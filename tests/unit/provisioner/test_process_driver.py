"""The process driver, with real processes: what is run, with what, and what is left when it is removed."""

import os
from pathlib import Path

import pytest

from provisioner.drivers.contract import DriverFailed
from provisioner.drivers.process import AgentSettings, ProcessDriver, agent_command
from tests.unit.provisioner.host import RUNTIME, Host, has_ended, mode, of_process, runs


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

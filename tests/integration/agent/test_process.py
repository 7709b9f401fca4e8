"""The agent's process against a plane of doubles: from token to applied configuration, and through every mishap."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from moorage.director.v1.configuration_pb2 import (
    REPORT_STATE_APPLIED,
    REPORT_STATE_APPLYING,
    REPORT_STATE_FAILED,
    ReportConfigurationRequest,
)

from mesh.exits import Exit
from tests.integration.agent.plane import RUNTIME_ID, Agent, Plane
from tests.support.configurations import application_id_of, whole
from tests.support.wait import eventually

FIRST = f"{application_id_of(1)}.json"


async def reported(plane: Plane, revision: int) -> ReportConfigurationRequest:
    """What the agent says in the end of `revision`."""
    while True:
        report = await plane.director.reports.get()
        if report.revision == revision and report.state != REPORT_STATE_APPLYING:
            return report


async def running(plane: Plane) -> Agent:
    """An agent that has enrolled and applied revision 2."""
    plane.director.change({1: 1})
    plane.give_token()
    agent = await plane.agent()
    await reported(plane, 2)
    return agent


@pytest.mark.check("stream-01")
async def test_a_token_becomes_an_applied_configuration(plane: Plane) -> None:
    sha256 = plane.director.change({1: 1, 2: 3})
    plane.give_token()
    agent = await plane.agent()
    report = await reported(plane, 2)
    assert (report.runtime_id, report.state, report.content_sha256) == (RUNTIME_ID, REPORT_STATE_APPLIED, sha256)
    assert agent.shown(f"{application_id_of(2)}.json")["apis"][0]["targetUrl"] == "https://3.test"
    status = await agent.status("applied", state="APPLIED", revision=2, content_sha256=sha256, connected=True)
    assert status["runtime_id"] == RUNTIME_ID
    assert status["counts"]["calls_failed"] == 0
    assert not plane.token_file.exists()


async def test_a_token_may_come_on_standard_input(plane: Plane) -> None:
    token = plane.token()
    await plane.agent("--token-stdin", stdin=f"{token}\n")
    await reported(plane, 1)
    assert (plane.home / "identity" / "tls.key").stat().st_mode & 0o777 == 0o600


async def test_a_token_may_be_in_the_environment_and_stays_with_the_agent(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORAGE_TOKEN", plane.token())
    seen = tmp_path / "environment"
    plane.configure(hook=["/bin/sh", "-c", f"env > {seen}"])
    await plane.agent()
    await reported(plane, 1)
    assert "MOORAGE_CREDENTIALS" in seen.read_text()
    assert "MOORAGE_TOKEN" not in seen.read_text()


async def test_each_change_is_applied_and_reported(plane: Plane) -> None:
    agent = await running(plane)
    for version in (2, 3, 4):
        plane.director.change({1: version})
        report = await reported(plane, plane.director.revision)
        assert report.state == REPORT_STATE_APPLIED
        assert agent.shown(FIRST)["apis"][0]["targetUrl"] == f"https://{version}.test"


@pytest.mark.check("stream-20")
async def test_while_the_director_is_away_an_agent_starts_from_its_cache_and_then_resumes(plane: Plane) -> None:
    agent = await running(plane)
    await agent.kill()
    await plane.stop_director()
    agent = await plane.agent()
    await agent.status("the cache", state="APPLIED", revision=2, connected=False)
    assert agent.shown(FIRST)["applicationId"] == application_id_of(1)
    plane.director.change({1: 2})
    await plane.start_director()
    await reported(plane, 3)
    status = await agent.status("applied", revision=3, connected=True)
    assert (status["counts"]["snapshots"], status["counts"]["deltas"]) == (0, 1)


@pytest.mark.check("stream-20")
async def test_a_tampered_cache_is_refused_and_fetched_anew(plane: Plane) -> None:
    agent = await running(plane)
    await agent.stop()
    file = plane.home / "configuration" / "current" / FIRST
    file.chmod(0o600)
    file.write_text(file.read_text().replace("1.test", "evil.test"))
    agent = await plane.agent()
    await reported(plane, 2)
    assert agent.shown(FIRST)["apis"][0]["targetUrl"] == "https://1.test"
    assert (await agent.status("fetched", connected=True))["counts"]["snapshots"] == 1


async def test_the_state_is_reported_again_after_every_reconnect(plane: Plane) -> None:
    await running(plane)
    plane.director.end_streams()
    assert (await reported(plane, 2)).state == REPORT_STATE_APPLIED


@pytest.mark.check("stream-17")
async def test_a_renewal_fails_no_call_and_needs_no_snapshot(plane: Plane) -> None:
    agent = await running(plane)
    first = await plane.director.streams.get()
    before = (await agent.status("connected", connected=True))["certificate"]["serial"]
    agent.process.send_signal(signal.SIGHUP)
    second = await plane.director.streams.get()
    assert second.resumed_from == 2
    for version in range(2, 50):
        plane.director.change({1: version})
    assert (await reported(plane, plane.director.revision)).state == REPORT_STATE_APPLIED
    await first.ended.wait()
    status = await agent.status("applied", revision=plane.director.revision)
    counts = status["counts"]
    assert status["certificate"]["serial"] != before
    assert (counts["renewals"], counts["snapshots"], counts["streams_opened"]) == (1, 1, 2)
    assert (counts["calls_failed"], counts["attempts_failed"]) == (0, 0)


async def test_the_agent_goes_where_the_plane_says_that_it_is_now(plane: Plane) -> None:
    agent = await running(plane)
    old = plane.connector.addresses.director
    plane.connector.addresses.director = ""
    await plane.start_director()
    assert plane.connector.addresses.director != old
    plane.director.streams.get_nowait()
    agent.process.send_signal(signal.SIGHUP)
    assert (await plane.director.streams.get()).resumed_from == 2


@pytest.mark.check("stream-11")
async def test_a_configuration_that_the_hook_refuses_is_reported_with_its_reason(plane: Plane, tmp_path: Path) -> None:
    script = 'test ! -e refuse || { echo "no such listener" >&2; exit 3; }; echo "$MOORAGE_REVISION" >> taken'
    plane.configure(hook=["/bin/sh", "-c", f"cd {tmp_path}; {script}"])
    agent = await running(plane)
    good = whole({1: 1}, 2).content_sha256
    (tmp_path / "refuse").touch()
    plane.director.change({1: 2})
    report = await reported(plane, 3)
    assert (report.state, report.content_sha256) == (REPORT_STATE_FAILED, good)
    assert report.failures[0].message == "the hook ended with status 3: no such listener"
    assert agent.shown(FIRST)["apis"][0]["targetUrl"] == "https://1.test"
    status = await agent.status("failed", state="FAILED", revision=2)
    assert status["failure"] == {"revision": 3, "message": report.failures[0].message}
    (tmp_path / "refuse").unlink()
    plane.director.change({1: 3})
    assert (await reported(plane, 4)).state == REPORT_STATE_APPLIED
    assert (tmp_path / "taken").read_text() == "2\n4\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_an_agent_that_ends_in_the_middle_of_the_hook_tries_again(
    plane: Plane, tmp_path: Path, number: signal.Signals
) -> None:
    script = "test ! -e hang || { rm hang; echo $$ > hung.new; mv hung.new hung; exec sleep 600; }"
    plane.configure(hook=["/bin/sh", "-c", f"cd {tmp_path}; {script}"])
    agent = await running(plane)
    (tmp_path / "hang").touch()
    plane.director.change({1: 2})
    hook = await eventually("the hook hangs", lambda: asyncio.to_thread(process_id_in, tmp_path / "hung"))
    agent.process.send_signal(number)
    if number == signal.SIGTERM:
        assert await agent.ended() == Exit.OK
        assert agent.shown(FIRST)["apis"][0]["targetUrl"] == "https://1.test"
    else:
        assert await agent.ended() == -number
        os.kill(hook, signal.SIGKILL)  # nobody was left to end it
    agent = await plane.agent()
    assert (await reported(plane, 3)).state == REPORT_STATE_APPLIED
    assert agent.shown(FIRST)["apis"][0]["targetUrl"] == "https://2.test"


def process_id_in(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() else None


async def test_two_agents_never_run_in_one_home(plane: Plane) -> None:
    agent = await running(plane)
    second = await plane.agent()
    assert await second.ended() == Exit.PLANE_RUNS
    assert f"process {agent.process.pid}" in last_line(agent)


async def test_an_agent_that_is_told_to_stop_stops(plane: Plane) -> None:
    agent = await running(plane)
    assert await agent.stop() == Exit.OK
    assert agent.read_status()["connected"] is False


async def test_an_agent_without_identity_and_token_says_what_to_do(plane: Plane) -> None:
    agent = await plane.agent()
    assert await agent.ended() == Exit.REFUSED
    assert last_line(agent).startswith("agent: there is no identity to start with")


async def test_a_used_token_is_refused(plane: Plane) -> None:
    used = plane.token()
    plane.token()
    plane.give_token(used)
    agent = await plane.agent()
    assert await agent.ended() == Exit.TOKEN_REFUSED
    assert plane.token_file.exists()


async def test_a_truncated_token_is_refused_without_a_call(plane: Plane) -> None:
    plane.give_token(plane.token()[:-3])
    agent = await plane.agent()
    assert await agent.ended() == Exit.TOKEN_MALFORMED


@pytest.mark.check("trust-09")
async def test_a_plane_that_the_token_does_not_pin_never_sees_it(plane: Plane, tmp_path: Path) -> None:
    other = Plane(tmp_path / "other")
    other.connector.addresses.enrolment = plane.connector.addresses.enrolment
    foreign = other.token()
    plane.connector.token = foreign
    plane.give_token(foreign)
    agent = await plane.agent()
    assert await agent.ended() == Exit.PIN_MISMATCH
    assert plane.connector.token == foreign


@pytest.mark.check("trust-11")
async def test_the_token_is_in_no_log_and_no_command_line(plane: Plane) -> None:
    token = plane.token()
    plane.give_token(token)
    plane.configure(log_level="debug")
    agent = await plane.agent()
    seen = await asyncio.to_thread(visible_to_others, agent.process.pid)
    await reported(plane, 1)
    assert token[5:] not in seen + agent.log.read_text()


def visible_to_others(process_id: int) -> str:
    return "".join(Path(f"/proc/{process_id}/{name}").read_text() for name in ("cmdline", "environ"))


def last_line(agent: Agent) -> str:
    return agent.log.read_text().splitlines()[-1]

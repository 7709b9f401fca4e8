"""Checks trust-15 and trust-16: a Connector that is away, an agent that was stopped, and clocks that differ."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses, RenewRequest, RenewResponse

from agent.status import Certificate, Status
from certs.identity import Identity, LoadedIdentity
from certs.token import OneTimeToken
from cli.plane.settings_file import write_settings
from mesh.enrolment import enrol
from mesh.exits import Exit
from mesh.renewal import RenewalLoop
from tests.support.connectors import PATIENCE, Connectors
from tests.support.plane import AgentProcess, Up
from tests.support.wait import wait_for

LIFE = 24.0
"""Seconds that the certificate of a Runtime lives."""


@contextmanager
def plane(folder: Path, **connector: Any) -> Iterator[tuple[Up, AgentProcess]]:
    """A plane with a Runtime whose certificate lives for `LIFE`, and its agent."""
    write_settings(folder / "settings.toml", {"connector": {"runtime_lifetime": LIFE, **connector}})
    with Up(folder / "home", "--config", str(folder / "settings.toml")) as up:
        created = up.moorage("runtime", "create", "outpost", "-o", "json")
        assert created.returncode == Exit.OK, created.stderr
        yield up, up.agent(json.loads(created.stdout)["runtime_id"])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process to which no time is given."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def status(agent: AgentProcess) -> Status:
    found = agent.status
    assert found is not None
    return found


def certificate(status: Status) -> Certificate:
    assert status.certificate is not None
    return status.certificate


def renewed(agent: AgentProcess, within: float = LIFE) -> Status:
    """What the agent says once it has another certificate, which it streams with."""
    before = status(agent)

    def look() -> Status | None:
        now = status(agent)
        return now if now.counts.renewals > before.counts.renewals and now.connected else None

    return wait_for("a renewal", look, within)


def watched(agent: AgentProcess, seconds: float) -> list[bool]:
    """Whether the agent had a stream, at each look within so many seconds."""
    seen, never, deadline = [], threading.Event(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen.append(status(agent).connected)
        never.wait(0.1)
    return seen


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.check("trust-15")
def test_no_stream_ends_while_the_connector_is_away_for_four_tenths_of_a_life(tmp_path: Path) -> None:
    with plane(tmp_path) as (up, agent):
        renewed(agent)
        before = status(agent).counts

        with stopped(up.plane.pids["connector"]):
            seen = watched(agent, LIFE * 0.4)

        after = renewed(agent).counts
        assert seen
        assert all(seen)
        assert (after.snapshots, after.calls_failed) == (before.snapshots, before.calls_failed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.check("trust-15")
def test_an_agent_recovers_by_itself_where_the_connector_was_away_for_longer_than_a_life(tmp_path: Path) -> None:
    with plane(tmp_path, recovery_window=3600.0) as (up, agent):
        pid = agent.pid
        with stopped(up.plane.pids["connector"]):
            wait_for("the end of the stream", lambda: not status(agent).connected, within=2 * LIFE)
            assert certificate(status(agent)).not_after <= datetime.now(UTC) + timedelta(seconds=1)

        wait_for("a stream", lambda: status(agent).connected, within=LIFE)
        assert agent.pid == pid
        assert certificate(renewed(agent)).not_after > datetime.now(UTC)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.check("trust-15")
def test_an_agent_that_cannot_be_recovered_says_what_is_to_be_done(tmp_path: Path) -> None:
    with plane(tmp_path) as (up, agent):
        with stopped(up.plane.pids["connector"]):
            wait_for("the end of the stream", lambda: not status(agent).connected, within=2 * LIFE)

        said = "ask an administrator for a one-time token for this runtime (`moorage token issue`)"
        wait_for("the named action", lambda: said in (agent.folder / "agent.log").read_text(), within=LIFE)


@pytest.mark.timeout(180)
@pytest.mark.check("trust-16")
def test_an_agent_that_was_stopped_past_its_renewal_point_renews_at_once(tmp_path: Path) -> None:
    with plane(tmp_path) as (_, agent):
        held = Identity(agent.folder / "identity").load()

        with stopped(agent.pid):
            latest = held.not_after - timedelta(seconds=LIFE / 4)
            wait_for("the renewal point to be over", lambda: datetime.now(UTC) > latest, within=LIFE)

        assert certificate(renewed(agent, within=5)).serial != held.serial


@pytest.mark.parametrize("apart", [timedelta(seconds=-60), timedelta(seconds=60)], ids=["behind", "ahead"])
@pytest.mark.check("trust-16")
async def test_a_party_whose_clock_is_a_minute_off_enrols_and_renews(
    connectors: Connectors, tmp_path: Path, apart: timedelta
) -> None:
    identity, renewals = Identity(tmp_path / "party"), asyncio.Event()

    def clock() -> datetime:
        return datetime.now(UTC) + apart

    async def renew(request: RenewRequest) -> RenewResponse:
        return await connectors.connector(1, identity).Renew(request, timeout=PATIENCE)

    async def told(_: LoadedIdentity, addresses: PlaneAddresses) -> None:
        renewals.set()

    await enrol(OneTimeToken.decode(await connectors.token()), identity, clock=clock)
    first = identity.load()
    loop = RenewalLoop(identity, renew, told, clock=clock)
    loop.renew_now()
    renewing = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await renewals.wait()
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
    assert identity.load().serial != first.serial

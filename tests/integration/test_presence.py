"""How the plane knows an Application, from its registration to its silence, with the real services."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.application_pb2 import (
    Application,
    ApplicationState,
    CreateApplicationRequest,
    GetApplicationRequest,
    ReportApplicationStatusRequest,
)
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, GetRuntimeRequest, Runtime

from certs.identity import Identity
from certs.token import OneTimeToken
from cli.demo.party import Party
from mesh.enrolment import enrol
from tests.support.plane import Up
from tests.support.wait import eventually

PAIRED = ApplicationState.APPLICATION_STATE_PAIRED
CONNECTED = ApplicationState.APPLICATION_STATE_CONNECTED
STALE = ApplicationState.APPLICATION_STATE_STALE
FAILED = ApplicationState.APPLICATION_STATE_FAILED

SOON = "[director]\nstale_after = 1.0\n"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("presence")
    (folder / "settings.toml").write_text(SOON)
    with Up(folder / "home", "--config", str(folder / "settings.toml")) as plane:
        yield plane


async def enrolled(admin: Party, folder: Path, request: IssueTokenRequest) -> None:
    token = (await admin.call(lambda plane: plane.connector.IssueToken, request)).token
    await enrol(OneTimeToken.decode(token), Identity(folder))


async def registered(admin: Party) -> str:
    request = CreateApplicationRequest(application=Application(name="orders"))
    return (await admin.call(lambda plane: plane.director.CreateApplication, request)).application.application_id


async def test_an_application_is_paired_by_its_certificate_connected_by_its_call_and_stale_by_its_silence(
    up: Up, tmp_path: Path
) -> None:
    async with up.party() as admin:
        id = await registered(admin)
        get = GetApplicationRequest(application_id=id)

        async def seen_as(state: ApplicationState.ValueType, by: Party) -> bool:
            return (await by.call(lambda plane: plane.director.GetApplication, get)).application.state == state

        await enrolled(admin, tmp_path / "orders", IssueTokenRequest(application_id=id))
        await eventually("it is PAIRED", lambda: seen_as(PAIRED, admin))
        async with up.party(tmp_path / "orders") as own:
            await eventually("it calls and is CONNECTED", lambda: seen_as(CONNECTED, own))
            await eventually("it is silent and STALE", lambda: seen_as(STALE, admin))
            await eventually("it calls and is CONNECTED again", lambda: seen_as(CONNECTED, own))
            report = ReportApplicationStatusRequest(application_id=id, state=FAILED, reason="out of stock")
            said = await own.call(lambda plane: plane.director.ReportApplicationStatus, report)
            assert (said.application.state, said.application.state_reason) == (FAILED, "out of stock")
            assert await seen_as(FAILED, own)


async def test_a_runtime_that_only_holds_a_stream_is_seen_for_as_long_as_it_does(up: Up, tmp_path: Path) -> None:
    async with up.party() as admin:
        request = CreateRuntimeRequest(runtime=Runtime(name="prod"))
        id = (await admin.call(lambda plane: plane.director.CreateRuntime, request)).runtime.runtime_id
        await enrolled(admin, tmp_path / "prod", IssueTokenRequest(runtime_id=id))

        async def last_seen() -> datetime | None:
            get = GetRuntimeRequest(runtime_id=id)
            runtime = (await admin.call(lambda plane: plane.director.GetRuntime, get)).runtime
            return runtime.last_seen_time.ToDatetime(UTC) if runtime.HasField("last_seen_time") else None

        assert await last_seen() is None
        async with up.party(tmp_path / "prod") as own:
            stream = own.director.WatchConfiguration(WatchConfigurationRequest(runtime_id=id))
            await stream.read()
            first = await eventually("it is seen", last_seen)

            async def seen_later() -> bool:
                return (await last_seen() or first) > first

            await eventually("it is seen again, though it made no other call", seen_later)
            stream.cancel()

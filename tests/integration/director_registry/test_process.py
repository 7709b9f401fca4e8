"""The Director's process: what it survives, and how it says why it cannot start."""

import asyncio
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import ListApplicationsRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat

from mesh.exits import Exit
from tests.integration.director_registry.process import READY_TIMEOUT, DirectorProcess


async def test_no_acknowledged_write_is_lost_when_it_is_killed(director: DirectorProcess) -> None:
    created = {(await director.application(f"app-{n}"))[0].application_id for n in range(10)}
    await director.end(signal.SIGKILL)
    await director.start()
    listed = await director.stub().ListApplications(ListApplicationsRequest(), timeout=10, wait_for_ready=True)
    assert {each.application_id for each in listed.applications} == created


async def test_it_stops_at_once_and_well_with_a_stream_open_and_leaves_no_process(director: DirectorProcess) -> None:
    application, own = await director.application("orders")
    api = Api(application_id=application.application_id, name="v1", target_url="https://a.test")
    openapi = SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI
    api.specification.CopyFrom(Specification(format=openapi, content="a: 1"))
    await own.CreateApi(CreateApiRequest(api=api), timeout=20)
    assert director.process
    (inspector,) = children_of(director.process.pid)
    admin = director.stub()
    runtime = (await admin.CreateRuntime(CreateRuntimeRequest(runtime=Runtime(name="prod")))).runtime
    stream = admin.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime.runtime_id))
    await stream.read()
    assert await director.end(signal.SIGTERM) == 0
    assert not runs(inspector)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def runs(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


async def fails(director: DirectorProcess) -> int:
    process = await director.launch()
    async with asyncio.timeout(READY_TIMEOUT):
        return await process.wait()


async def test_a_taken_port_is_one_line_and_an_exit_code(stopped_director: DirectorProcess) -> None:
    host, port = stopped_director.settings["listen"].split(":")
    with socket.create_server((host, int(port))):
        assert await fails(stopped_director) == Exit.PORT_TAKEN
    assert port in stopped_director.log.splitlines()[-1]


async def test_a_database_of_a_later_version_is_left_alone(director: DirectorProcess) -> None:
    await director.end(signal.SIGTERM)
    path = director.folder / "director.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999', oldest = '9998'")
        database.commit()
    assert await fails(director) == Exit.SERVICE_FAILED
    assert "9999" in director.log.splitlines()[-1]


async def test_a_sealing_key_that_others_may_read_is_refused(director: DirectorProcess) -> None:
    await director.end(signal.SIGTERM)
    (director.folder / "sealing.key").chmod(0o644)
    assert await fails(director) == Exit.SERVICE_FAILED
    assert "0600" in director.log.splitlines()[-1]


async def test_an_unknown_setting_is_refused_by_its_name(stopped_director: DirectorProcess) -> None:
    stopped_director.settings["databse"] = "x"
    assert await fails(stopped_director) == Exit.USAGE
    assert "databse" in stopped_director.log.splitlines()[-1]

"""How the Connector's process starts, says how it is, and refuses to start."""

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from mesh.exits import Exit
from tests.integration.connector.plane import READY_TIMEOUT, Plane


async def test_it_is_healthy_while_its_database_and_authority_are_at_hand(plane: Plane) -> None:
    health: Any = plane.channel().stub(HealthStub)

    response = await health.Check(HealthCheckRequest(service="moorage.connector.v1.Connector"), timeout=5)

    assert response.status == HealthCheckResponse.SERVING


async def test_it_stops_on_sigterm_with_success(plane: Plane) -> None:
    assert await plane.end(signal.SIGTERM) == Exit.OK


@pytest.mark.parametrize("passphrase", ["wrong", "", None], ids=["wrong", "empty", "no file named"])
async def test_a_passphrase_that_does_not_open_the_authority_is_one_line_and_exit_code_12(
    stopped_plane: Plane, tmp_path: Path, passphrase: str | None
) -> None:
    stopped_plane.mint.issuing.save(tmp_path / "locked", b"open sesame")
    stopped_plane.settings["issuing_authority"] = str(tmp_path / "locked")
    if passphrase is not None:
        (tmp_path / "passphrase").write_text(passphrase)
        stopped_plane.settings["passphrase_file"] = str(tmp_path / "passphrase")

    assert await exit_code(stopped_plane) == Exit.PASSPHRASE
    [line] = stopped_plane.log.read_text().splitlines()
    assert "passphrase" in line


async def test_a_port_that_is_taken_is_one_line_and_exit_code_10(stopped_plane: Plane) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        stopped_plane.settings["listen"] = address

        assert await exit_code(stopped_plane) == Exit.PORT_TAKEN
    assert address in stopped_plane.log.read_text().splitlines()[-1]


async def test_a_setting_that_is_missing_is_named(stopped_plane: Plane) -> None:
    del stopped_plane.settings["identity"]

    assert await exit_code(stopped_plane) == Exit.USAGE
    assert "identity" in stopped_plane.log.read_text()


async def exit_code(plane: Plane) -> int:
    plane.process = await plane.launch()
    async with asyncio.timeout(READY_TIMEOUT):
        return await plane.process.wait()

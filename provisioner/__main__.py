"""The Provisioner's process: `python -m provisioner --config FILE`, also `moorage provisioner run --config FILE`."""

import argparse
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import grpc
from google.longrunning.operations_pb2 import DESCRIPTOR as LONGRUNNING
from google.longrunning.operations_pb2_grpc import add_OperationsServicer_to_server
from moorage.provisioner.v1 import provisioner_pb2
from moorage.provisioner.v1.provisioner_pb2_grpc import add_ProvisionerServicer_to_server

from certs.clock import system_clock
from certs.identity import Identity
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.database import Database
from mesh.durable import Durable
from mesh.health import Readiness
from mesh.migration import prepare
from mesh.revocations import followed, of_connector
from mesh.run import in_background, run
from mesh.server import MeshServer, Service
from mesh.service_identity import keep_renewed
from mesh.settings import load_settings
from mesh.uses import to_connector, told
from provisioner import store
from provisioner.dispatcher import Dispatcher
from provisioner.drivers.contract import Driver
from provisioner.drivers.process import AgentSettings, ProcessDriver
from provisioner.operations import Operations
from provisioner.plane import MeshPlane
from provisioner.runtimes import DEFAULT_DRIVER, Runtimes, ought_to_run
from provisioner.service import OperationsService, ProvisionerService
from provisioner.settings import ProvisionerSettings
from provisioner.workflows import Workflows

PROVISIONER = provisioner_pb2.DESCRIPTOR.services_by_name["Provisioner"]
OPERATIONS = LONGRUNNING.services_by_name["Operations"]

_log = telemetry.logger("provisioner")

DURABLE_STOP = 3.0
"""Seconds that DBOS has to let go of its database when the process stops."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run the Provisioner.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [provisioner]")
    return run("provisioner", partial(_start, parser.parse_args(argv).config))


async def _start(config: Path | None, stack: AsyncExitStack) -> None:
    settings = load_settings(ProvisionerSettings, "provisioner", config, os.environ)
    telemetry.configure_logging("provisioner", settings.log_level)
    database = Database.open(settings.database)
    stack.callback(database.close)
    prepare(database.engine, store.metadata, "provisioner")
    identity = Identity(settings.identity)
    director = LiveChannel(settings.director_address, identity)
    connector = LiveChannel(settings.connector_address, identity)
    for channel in (director, connector):
        stack.push_async_callback(channel.close)
    plane = MeshPlane(director, connector, timeout=settings.call_timeout, token_ttl=settings.token_ttl)
    drivers = _drivers(settings, plane)
    for driver in drivers.values():
        stack.push_async_callback(driver.close)
    running = await database.read(ought_to_run)

    operations = Operations(database, system_clock)
    workflows = Workflows(operations, plane, drivers, settings.retry_timeout, settings.ready_timeout)
    durable = Durable(name="provisioner", url=settings.dbos_database, workflows=workflows.by_name)
    stack.push_async_callback(durable.stop, DURABLE_STOP)
    dispatcher = Dispatcher(database, durable)
    runtimes = Runtimes(database, plane, drivers, system_clock, lambda: str(uuid.uuid4()), dispatcher.wake)

    service = Service(
        PROVISIONER,
        partial(_register, ProvisionerService(runtimes), OperationsService(operations)),
        borrowed=(OPERATIONS.full_name,),
    )
    revocations = await followed(
        of_connector(connector), stack, max_age=settings.revocations_max_age, cache=settings.revocations_cache
    )
    server = MeshServer(
        settings.listen,
        identity,
        [service],
        readiness=Readiness(PROVISIONER.full_name, {"database": database.check, "revocations": revocations.ready}),
        revocations=revocations,
        uses=told(to_connector(connector), stack),
        connection_age=settings.connection_age,
    )
    await server.start()
    stack.push_async_callback(server.stop)
    keep_renewed(identity, connector, stack)
    # Whoever waits for an operation would hold up the stop.
    stack.callback(operations.release)
    # In the background: the import of DBOS alone takes a second. Meanwhile operations are taken in and kept.
    in_background(stack, _work(drivers, running, dispatcher))
    if settings.metrics_listen:
        telemetry.serve_metrics(settings.metrics_listen)


def _drivers(settings: ProvisionerSettings, plane: MeshPlane) -> Mapping[str, Driver]:
    agents = AgentSettings(
        director=settings.director_address,
        connector=settings.connector_address,
        hook=settings.agent_hook,
        log_level=settings.agent_log_level,
    )
    process = ProcessDriver(
        settings.runtimes.absolute(),
        agents,
        environ=os.environ,
        stop_on_close=settings.stop_agents_on_exit,
        stop_grace=settings.agent_stop_grace,
        invite=plane.issue_token,
    )
    return {DEFAULT_DRIVER: process}


def _register(provisioner: ProvisionerService, operations: OperationsService, server: grpc.aio.Server) -> None:
    add_ProvisionerServicer_to_server(provisioner, server)
    add_OperationsServicer_to_server(operations, server)


async def _work(drivers: Mapping[str, Driver], running: Mapping[str, Sequence[str]], dispatcher: Dispatcher) -> None:
    for name, driver in drivers.items():
        try:
            await driver.resume(running.get(name, ()))
        except Exception:  # a fault with what runs is no reason to begin nothing new
            _log.exception("workloads cannot be resumed", driver=name)
    await dispatcher.run()


if __name__ == "__main__":
    sys.exit(main())

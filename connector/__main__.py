"""The Connector's process: `python -m connector --config FILE`, which is `moorage connector run --config FILE`."""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.connector_pb2_grpc import add_ConnectorServicer_to_server
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from certs.clock import system_clock
from certs.identity import Identity
from connector import store
from connector.authority import AuthorityLocked, IssuingAuthority
from connector.enrolment import Enrolment
from connector.registry import DirectorRegistry, Pairings
from connector.renewal import Renewal
from connector.service import ConnectorService
from connector.settings import ConnectorSettings
from connector.tokens import TokenIssuer
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.database import Database
from mesh.exits import Exit, Stopped
from mesh.health import Readiness
from mesh.migration import prepare
from mesh.run import run
from mesh.server import MeshServer, Service
from mesh.settings import load_settings

CONNECTOR = connector_pb2.DESCRIPTOR.services_by_name["Connector"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run the Connector.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [connector]")
    return run("connector", partial(_start, parser.parse_args(argv).config))


async def _start(config: Path | None, stack: AsyncExitStack) -> None:
    settings = load_settings(ConnectorSettings, "connector", config, os.environ)
    telemetry.configure_logging("connector", settings.log_level)
    authority = _authority(settings)
    database = Database.open(settings.database)
    stack.callback(database.close)
    prepare(database.engine, store.metadata, "connector")
    await database.write(store.record_authority, authority.sha256, authority.chain_pem)
    identity = Identity(settings.identity)
    director = LiveChannel(settings.director_address, identity)
    stack.push_async_callback(director.close)
    pairings = Pairings(director)
    stack.push_async_callback(pairings.close)

    service = Service(
        CONNECTOR,
        partial(add_ConnectorServicer_to_server, _servicer(settings, authority, database, director, pairings)),
    )
    readiness = Readiness(CONNECTOR.full_name, {"database": database.check, "authority": authority.check})
    for server in (
        MeshServer(settings.enrolment_listen, identity, [service], enrolment=True),
        MeshServer(settings.listen, identity, [service], readiness=readiness),
    ):
        await server.start()
        stack.push_async_callback(server.stop)
    if settings.metrics_listen:
        telemetry.serve_metrics(settings.metrics_listen)


def _authority(settings: ConnectorSettings) -> IssuingAuthority:
    try:
        return IssuingAuthority.load(
            settings.issuing_authority, settings.passphrase_file, settings.lifetime, system_clock
        )
    except AuthorityLocked as error:
        raise Stopped(Exit.PASSPHRASE, str(error)) from error


def _servicer(
    settings: ConnectorSettings,
    authority: IssuingAuthority,
    database: Database,
    director: LiveChannel,
    pairings: Pairings,
) -> ConnectorService:
    registry = DirectorRegistry(director, timedelta(seconds=settings.director_timeout))
    return ConnectorService(
        tokens=TokenIssuer(
            database=database,
            registry=registry,
            authority=authority,
            enrolment_address=settings.enrolment_address,
            default_ttl=timedelta(seconds=settings.token_ttl),
            clock=system_clock,
            random_bytes=secrets.token_bytes,
        ),
        enrolment=Enrolment(database, authority, system_clock, pairings.enrolled),
        renewal=Renewal(database, registry, authority, system_clock),
        authority=authority,
        addresses=PlaneAddresses(
            director=settings.director_address,
            connector=settings.connector_address,
            enrolment=settings.enrolment_address,
            provisioner=settings.provisioner_address,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())

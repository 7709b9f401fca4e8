"""The Connector's process: `python -m connector --config FILE`, which is `moorage connector run --config FILE`."""

import argparse
import os
import secrets
import sys
import uuid
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
from certs.policy import profiles
from connector import store
from connector.authorities import retired_hashes, settle_authorities
from connector.authority import AuthorityLocked, IssuingAuthority
from connector.delivery import Deliveries
from connector.enrolment import Enrolment
from connector.first_identities import read_first_identities, take_in_first
from connector.ledger import Ledger
from connector.limits import Allowance, RateLimits
from connector.recovery import Recovery
from connector.registry import DirectorRegistry, Pairings
from connector.renewal import Renewal
from connector.revocation_list import RevocationLists
from connector.revocation_stream import Hub
from connector.service import ConnectorService, Parts
from connector.settings import ConnectorSettings
from connector.store.revocations import create_ledger
from connector.tokens import TokenIssuer, Ttl
from connector.upkeep import Upkeep
from connector.uses import record
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.database import Database, Limits
from mesh.exits import Exit, Stopped
from mesh.health import Readiness
from mesh.migration import prepare
from mesh.revocations import followed
from mesh.run import in_background, run
from mesh.server import MeshServer, Service
from mesh.service_identity import keep_renewed
from mesh.settings import load_settings
from mesh.uses import told

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
    retired = retired_hashes(settings.retired_authorities, authority)
    first_identities = read_first_identities(settings.first_identities)
    database = Database.open(settings.database, Limits(connections=settings.database_connections))
    stack.callback(database.close)
    await database.reach(settings.database_wait)  # where it does not come, `prepare` says what is wrong
    prepare(database.engine, store.metadata, "connector", migrate=settings.migrate)
    await database.write(create_ledger, str(uuid.uuid4()))
    await database.write(settle_authorities, authority, retired, system_clock())
    await database.write(take_in_first, first_identities, system_clock())
    await database.listen()
    identity = Identity(settings.identity)
    director = LiveChannel(settings.director_address, identity)
    stack.push_async_callback(director.close)
    pairings = Pairings(director)
    stack.push_async_callback(pairings.close)
    registry = DirectorRegistry(director, timedelta(seconds=settings.director_timeout))
    deliveries = Deliveries(database, registry, system_clock)
    stack.push_async_callback(deliveries.close)

    hub = Hub(database, system_clock)
    await hub.start()
    stack.push_async_callback(hub.stop)
    parts = _parts(settings, authority, database, registry, deliveries, pairings, hub)
    service = Service(CONNECTOR, partial(add_ConnectorServicer_to_server, ConnectorService(parts)))
    revocations = await followed(
        hub.watch, stack, max_age=settings.revocations_max_age, cache=settings.revocations_cache
    )
    checks = {"database": database.check, "authority": authority.check, "revocations": revocations.ready}
    for server in (
        MeshServer(settings.enrolment_listen, identity, [service], enrolment=True),
        MeshServer(
            settings.listen,
            identity,
            [service],
            readiness=Readiness(CONNECTOR.full_name, checks),
            revocations=revocations,
            uses=told(partial(_record_uses, database), stack),
            connection_age=settings.connection_age,
        ),
    ):
        await server.start()
        stack.push_async_callback(server.stop)
    upkeep = Upkeep(
        database,
        system_clock,
        renewal_grace=timedelta(seconds=settings.renewal_grace),
        revocation_retention=timedelta(seconds=settings.revocation_retention),
    )
    in_background(stack, upkeep.run())
    connector = LiveChannel(settings.connector_address, identity)
    stack.push_async_callback(connector.close)
    keep_renewed(identity, connector, stack)
    if settings.metrics_listen:
        telemetry.serve_metrics(settings.metrics_listen)


def _authority(settings: ConnectorSettings) -> IssuingAuthority:
    by_kind = profiles(settings.lifetime, settings.lifetime_ceiling, timedelta(seconds=settings.back_date))
    try:
        return IssuingAuthority.load(settings.issuing_authority, settings.passphrase_file, by_kind, system_clock)
    except AuthorityLocked as error:
        raise Stopped(Exit.PASSPHRASE, str(error)) from error


async def _record_uses(database: Database, serial_numbers: Sequence[str]) -> None:
    await database.write(record, serial_numbers, system_clock())


def _parts(
    settings: ConnectorSettings,
    authority: IssuingAuthority,
    database: Database,
    registry: DirectorRegistry,
    deliveries: Deliveries,
    pairings: Pairings,
    hub: Hub,
) -> Parts:
    ledger = Ledger(database, authority, system_clock)
    limits = RateLimits(
        {
            "address": Allowance(settings.enrolment_address_rate, settings.enrolment_address_burst),
            "identity": Allowance(settings.identity_rate, settings.identity_burst),
        }
    )
    return Parts(
        database=database,
        hub=hub,
        revocation_lists=RevocationLists(database, authority, timedelta(seconds=settings.crl_lifetime), system_clock),
        authority=authority,
        clock=system_clock,
        addresses=PlaneAddresses(
            director=settings.director_address,
            connector=settings.connector_address,
            enrolment=settings.enrolment_address,
            provisioner=settings.provisioner_address,
        ),
        limits=limits,
        tokens=TokenIssuer(
            database=database,
            registry=registry,
            deliveries=deliveries,
            authority=authority,
            enrolment_address=settings.enrolment_address,
            ttl=Ttl(settings.default_ttl, settings.ttl_ceiling),
            clock=system_clock,
            random_bytes=secrets.token_bytes,
        ),
        enrolment=Enrolment(ledger, limits, pairings.enrolled),
        renewal=Renewal(ledger, registry, limits),
        recovery=Recovery(ledger, registry, limits, timedelta(seconds=settings.recovery_window)),
    )


if __name__ == "__main__":
    sys.exit(main())

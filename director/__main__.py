"""The Director's process: `python -m director --config FILE`, which is `moorage director run --config FILE`."""

import argparse
import asyncio
import os
import socket
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

from moorage.director.v1 import director_pb2
from moorage.director.v1.director_pb2_grpc import add_DirectorServicer_to_server

from certs.clock import system_clock
from certs.identity import Identity
from certs.spiffe import SpiffeId
from director.departures import Departures, by_connector
from director.downloads import Downloads
from director.fleet.hub import RuntimeHub
from director.keys import key_provider, open_seal
from director.networks import NetworkRule
from director.pairing import Pairing
from director.presence import Presence
from director.retention import Forgetting, Retention
from director.service import DirectorService, Parts
from director.serving.hub import ApplicationHub
from director.settings import DirectorSettings
from director.specifications.fetch import HttpFetch
from director.specifications.fetching import Fetcher, FetchPatience
from director.specifications.inspector import FETCHED_CPU_SECONDS, Inspector
from director.specifications.retrieval import Retrieval
from director.staleness import Staleness
from director.store.changes import create_plane
from director.store.tables import metadata
from director.stream.hub import Hub
from director.webhooks.delivery import Delivery, Patience
from director.webhooks.post import HttpPost
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.database import Database, Limits
from mesh.durable import Durable
from mesh.exits import Exit, Stopped
from mesh.health import Readiness
from mesh.migration import prepare
from mesh.revocations import followed, of_connector
from mesh.run import in_background, run
from mesh.sealing import KeyProvider, Seal, SealingRefused
from mesh.server import MeshServer, Service
from mesh.service_identity import keep_renewed
from mesh.settings import load_settings
from mesh.uses import to_connector, told

DIRECTOR = director_pb2.DESCRIPTOR.services_by_name["Director"]

DURABLE_STOP = 3.0
"""Seconds that DBOS has to let go of its database when the process stops."""

DURABLE_WAIT = 10.0
"""Seconds that durable work waits, at most, while agents come back after a restart."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run the Director.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [director]")
    return run("director", partial(_start, parser.parse_args(argv).config))


async def _start(config: Path | None, stack: AsyncExitStack) -> None:
    settings = load_settings(DirectorSettings, "director", config, os.environ)
    telemetry.configure_logging("director", settings.log_level)
    identity = Identity(settings.identity)
    provider = key_provider(settings)
    database = Database.open(settings.database, Limits(connections=settings.database_connections))
    stack.callback(database.close)
    await database.reach(settings.database_wait)  # where it does not come, `prepare` says what is wrong
    prepare(database.engine, metadata, "director", migrate=settings.migrate)
    await database.write(create_plane, _new_id())
    await database.listen()
    seal = await _seal(database, provider)

    inspector = Inspector()
    stack.push_async_callback(inspector.close)
    hub = Hub(database, bookmark_interval=settings.bookmark_interval, most_waiting=settings.streams_waiting)
    await hub.start()
    stack.push_async_callback(hub.stop)
    trust_domain = identity.load().spiffe_id.trust_domain
    application_hub = ApplicationHub(database, trust_domain, bookmark_interval=settings.bookmark_interval)
    await application_hub.start()
    stack.push_async_callback(application_hub.stop)
    runtime_hub = RuntimeHub(database, bookmark_interval=settings.bookmark_interval)
    await runtime_hub.start()
    stack.push_async_callback(runtime_hub.stop)
    downloads = Downloads(settings.downloads, settings.downloads_per_caller)
    post = HttpPost(settings.webhook_denied_networks)
    stack.push_async_callback(post.close)
    parts = Parts(
        database=database,
        hub=hub,
        application_hub=application_hub,
        runtime_hub=runtime_hub,
        downloads=downloads,
        inspector=inspector,
        seal=seal,
        pairing=Pairing(database, seal, post, system_clock),
        trust_domain=trust_domain,
        clock=system_clock,
        new_id=_new_id,
    )
    presence = Presence(
        database,
        system_clock,
        timedelta(seconds=settings.stale_after),
        Staleness(
            database,
            hub,
            system_clock,
            _new_id,
            str(SpiffeId.service(trust_domain, "director")),
            silent_after=timedelta(seconds=settings.runtime_stale_after),
            apply_deadline=timedelta(seconds=settings.apply_deadline),
        ),
    )
    await presence.start()
    stack.push_async_callback(presence.stop)
    connector = LiveChannel(settings.connector_address, identity)
    stack.push_async_callback(connector.close)
    revocations = await followed(
        of_connector(connector), stack, max_age=settings.revocations_max_age, cache=settings.revocations_cache
    )
    server = MeshServer(
        settings.listen,
        identity,
        [Service(DIRECTOR, partial(add_DirectorServicer_to_server, DirectorService(parts)))],
        readiness=Readiness(DIRECTOR.full_name, {"database": database.check, "revocations": revocations.ready}),
        observer=presence,
        revocations=revocations,
        uses=told(to_connector(connector), stack),
        connection_age=settings.connection_age,
    )
    await server.start()
    stack.push_async_callback(server.stop)
    keep_renewed(identity, connector, stack)

    await _start_background(settings, database, hub, seal, post, connector, trust_domain, stack)
    if settings.metrics_listen:
        telemetry.serve_metrics(settings.metrics_listen)


async def _start_background(
    settings: DirectorSettings,
    database: Database,
    hub: Hub,
    seal: Seal,
    post: HttpPost,
    connector: LiveChannel,
    trust_domain: str,
    stack: AsyncExitStack,
) -> None:
    """Begin what nobody waits for: the durable work, and forgetting. The import of DBOS alone takes a second."""
    patience = Patience(settings.webhook_attempts, settings.webhook_first_wait, settings.webhook_longest_wait)
    delivery = Delivery(database, seal, post, system_clock, patience)
    inspector = Inspector(FETCHED_CPU_SECONDS)
    stack.push_async_callback(inspector.close)
    retrieval = _retrieval(settings, database, inspector, trust_domain)
    departures = Departures(database, by_connector(connector))
    workflows = {**delivery.workflows, **retrieval.workflows, **departures.workflows}
    instance = settings.instance_id or f"{socket.gethostname()}/{settings.listen}"
    durable = Durable(name="director", url=settings.dbos_database, workflows=workflows, instance=instance)
    stack.push_async_callback(durable.stop, DURABLE_STOP)
    in_background(stack, _work(hub, durable, delivery, retrieval, departures))
    retention = Retention(
        changes=timedelta(seconds=settings.change_retention),
        revisions=settings.change_retention_revisions,
        replies=timedelta(seconds=settings.reply_retention),
        notices=timedelta(seconds=settings.notice_retention),
    )
    forgetting = Forgetting(database, retention, system_clock)
    await forgetting.start()
    stack.push_async_callback(forgetting.stop)


def _retrieval(settings: DirectorSettings, database: Database, inspector: Inspector, trust_domain: str) -> Retrieval:
    fetch = HttpFetch(NetworkRule.public_and(settings.fetch_allowed_networks))
    patience = FetchPatience(settings.fetch_attempts, settings.fetch_first_wait, settings.fetch_longest_wait)
    fetcher = Fetcher(fetch, inspector.inspect_content, patience)
    return Retrieval(database, fetcher, system_clock, str(SpiffeId.service(trust_domain, "director")), _new_id)


async def _work(hub: Hub, durable: Durable, delivery: Delivery, retrieval: Retrieval, departures: Departures) -> None:
    await hub.settled(DURABLE_WAIT)
    await durable.launch()
    async with asyncio.TaskGroup() as group:
        group.create_task(delivery.run(durable))
        group.create_task(retrieval.run(durable))
        group.create_task(departures.run(durable))


async def _seal(database: Database, provider: KeyProvider) -> Seal:
    try:
        return await open_seal(database, provider, system_clock)
    except SealingRefused as error:
        raise Stopped(Exit.SERVICE_FAILED, str(error)) from error


def _new_id() -> str:
    return str(uuid.uuid4())


if __name__ == "__main__":
    sys.exit(main())

"""The one server builder: TLS 1.3, keepalive, limits, live certificates, and the call pipeline around every service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import mesh
from certs.clock import Clock, system_clock
from certs.identity import Identity, IdentityRefused, LoadedIdentity
from mesh import telemetry
from mesh.access import AccessRules
from mesh.exits import Exit, Stopped
from mesh.health import Readiness
from mesh.limits import MAX_TRANSPORT_BYTES
from mesh.peer import Peers
from mesh.pipeline import CallObserver, Pipeline
from mesh.revocations import Revocations
from mesh.streams import DRAIN_SPREAD
from mesh.uses import Uses

STOP_GRACE = 3.0
"""Seconds that calls under way have to end once a server stops."""

HANDSHAKE_TIMEOUT = 20.0
"""Seconds that a new connection has to shake hands; then it is closed."""

ENROLMENT_CONNECTION_AGE = 60.0
"""Seconds that a connection of a newcomer, who has shown nothing yet, may last; a call under way has half as many
more."""

MAX_ENROLMENT_BYTES = 2 * 1024 * 1024
"""The largest message that the transport takes from a newcomer."""

_ENROLMENT_STREAMS = 8
OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", MAX_TRANSPORT_BYTES),
    # Ask a client for a sign of life that does not even ask for one itself, as our own channels do, and let them: to
    # answer costs half of what asking does, and there are thousands of them.
    ("grpc.keepalive_time_ms", 75_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
_log = telemetry.logger("server")


@dataclass(frozen=True)
class Service:
    """One gRPC service of ours as a server offers it."""

    descriptor: ServiceDescriptor
    """Its descriptor: the access rules come from there."""

    register: Callable[[grpc.aio.Server], None]
    """Adds its servicer to a server."""

    borrowed: tuple[str, ...] = ()
    """Full names of the standard services that `register` adds beside it, health and reflection apart."""


class MeshServer:
    """One listener with its services. `start` it, and `stop` it gracefully.

    `enrolment` listeners ask for no client certificate and send the whole chain, root included, so that a client that
    only has a pin can check it; they offer neither health nor reflection. `revocations` is asked about each caller, and
    `uses` is told of each certificate. Connections last for `connection_age` seconds, give or take a tenth, and
    so do streams, whose readers then resume over another one.
    """

    def __init__(
        self,
        address: str,
        identity: Identity,
        services: Sequence[Service],
        *,
        readiness: Readiness | None = None,
        enrolment: bool = False,
        clock: Clock = system_clock,
        observer: CallObserver | None = None,
        revocations: Revocations | None = None,
        uses: Uses | None = None,
        connection_age: float | None = None,
    ) -> None:
        if not mesh.TLS_1_3_ONLY:
            raise RuntimeError("grpc was imported before mesh, so TLS 1.2 would be offered: import mesh first")
        self.address = address
        self.port = 0
        self._readiness = readiness
        self._certificates = _LiveCertificates(identity, enrolment=enrolment)
        trust_domain = self._certificates.loaded.spiffe_id.trust_domain
        rules = AccessRules.of(each.descriptor for each in services)
        peers = Peers(trust_domain, clock, uses)
        self._pipeline = Pipeline(rules, peers, clock, observer or CallObserver(), revocations, connection_age)
        options = _enrolment_options() if enrolment else _options(connection_age)
        self._server = grpc.aio.server(interceptors=(self._pipeline,), options=options)
        for service in services:
            service.register(self._server)
        if not enrolment:
            self._add_standard_services(services)

    async def start(self) -> int:
        """Bind and serve; returns the port. Raises `Stopped` (PORT_TAKEN) where the address cannot be had."""
        try:
            self.port = self._server.add_secure_port(self.address, self._certificates.server_credentials())
        except RuntimeError as error:
            raise Stopped(
                Exit.PORT_TAKEN, f"{self.address} cannot be listened on: choose another address or stop what has it"
            ) from error
        await self._server.start()
        if self._readiness:
            await self._readiness.start()
        _log.info("listening", address=self.address, port=self.port)
        return self.port

    async def stop(self) -> None:
        """Say not ready, end the streams with a spread, let calls end within `STOP_GRACE`, then close."""
        if self._readiness:
            await self._readiness.stop()
        self._pipeline.drain()
        await self._pipeline.drained(DRAIN_SPREAD + 0.5)
        await self._server.stop(STOP_GRACE)

    def _add_standard_services(self, services: Sequence[Service]) -> None:
        names = [each.descriptor.full_name for each in services]
        names += [name for each in services for name in each.borrowed]
        if self._readiness:
            health_pb2_grpc.add_HealthServicer_to_server(self._readiness.servicer, self._server)
            names.append(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)


def _options(connection_age: float | None) -> tuple[tuple[str, int], ...]:
    options = (*OPTIONS, _handshake(), ("grpc.max_receive_message_length", MAX_TRANSPORT_BYTES))
    if connection_age is None:
        return options
    # A new connection shakes hands by the trust bundle of now. There is no grace, which would cut the streams: the
    # pipeline looks after those.
    return (*options, ("grpc.max_connection_age_ms", max(int(connection_age * 1000), 1)))


def _enrolment_options() -> tuple[tuple[str, int], ...]:
    age = int(ENROLMENT_CONNECTION_AGE * 1000)
    return (
        *OPTIONS,
        _handshake(),
        # Anybody can connect here, and so none can hold much for long.
        ("grpc.max_receive_message_length", MAX_ENROLMENT_BYTES),
        ("grpc.max_concurrent_streams", _ENROLMENT_STREAMS),
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", age // 2),
    )


def _handshake() -> tuple[str, int]:
    return ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_TIMEOUT * 1000))


class _LiveCertificates:
    """Gives each handshake the identity as it is on disk now."""

    def __init__(self, identity: Identity, *, enrolment: bool) -> None:
        self._identity = identity
        self._enrolment = enrolment
        self._generation = identity.generation()
        self.loaded = identity.load()
        telemetry.CERTIFICATE_NOT_AFTER.set(self.loaded.not_after.timestamp())

    def server_credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(self.loaded),
            self._when_changed,  # type: ignore[arg-type]  # grpc takes None for "no change"; its types do not say so
            require_client_authentication=not self._enrolment,
        )

    def _when_changed(self) -> grpc.ServerCertificateConfiguration | None:
        # Called by a thread of grpc's core at every handshake. What it raises is swallowed there, so it is counted.
        try:
            generation = self._identity.generation()
            if generation == self._generation:
                return None
            self.loaded = self._identity.load()
            self._generation = generation
        except (IdentityRefused, OSError) as error:
            telemetry.CERTIFICATE_RELOAD_FAILURES.inc()
            _log.error("the new certificate cannot be used; the old one stays", error=str(error))
            return None
        telemetry.CERTIFICATE_NOT_AFTER.set(self.loaded.not_after.timestamp())
        return self._configuration(self.loaded)

    def _configuration(self, loaded: LoadedIdentity) -> grpc.ServerCertificateConfiguration:
        if self._enrolment:
            return grpc.ssl_server_certificate_configuration([(loaded.key_pem, loaded.chain_pem + loaded.bundle_pem)])
        return grpc.ssl_server_certificate_configuration(
            [(loaded.key_pem, loaded.chain_pem)], root_certificates=loaded.bundle_pem
        )

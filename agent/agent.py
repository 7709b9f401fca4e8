"""The agent's parts, joined: what the stream brings is applied, what was applied is reported, all of it is shown."""

import asyncio
from datetime import timedelta
from functools import partial

import grpc
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses, RenewRequest, RenewResponse
from moorage.director.v1.configuration_pb2 import (
    REPORT_STATE_APPLIED,
    ReportConfigurationRequest,
    ReportConfigurationResponse,
)

from agent.applier import Applier
from agent.cache import Applied, Cache
from agent.credentials import Credentials
from agent.home import Home
from agent.hook import Hook
from agent.outcome import Outcome
from agent.plane import CALL_TIMEOUT, Plane
from agent.reporter import Reporter
from agent.status import Certificate, Failure, Status, StatusFile
from agent.stream import ConfigurationStream
from certs.clock import Clock
from certs.identity import Identity, IdentityRefused, LoadedIdentity
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.exits import Exit, Stopped
from mesh.recovery import NotRecovered, recover
from mesh.renewal import IdentityExpired, RenewalLoop

_FIRST_WAIT = timedelta(milliseconds=200)
_LONGEST_WAIT = timedelta(seconds=10)
_log = telemetry.logger("agent")


class Agent:
    """Speaks for the Runtime that `loaded`, the identity in `home`, names.

    `applied` is what `cache` was opened with; `credentials` are open, too.
    """

    def __init__(
        self,
        version: str,
        home: Home,
        loaded: LoadedIdentity,
        plane: Plane,
        cache: Cache,
        applied: Applied | None,
        credentials: Credentials,
        hook: Hook,
        clock: Clock,
    ) -> None:
        runtime_id = loaded.spiffe_id.name
        self._home = home
        self._plane = plane
        self._status = Status(runtime_id, version, clock(), certificate=_certificate(loaded))
        self._status_file = StatusFile(home.status, self._status)
        self._applier = Applier(cache, applied, credentials, hook, clock, self._on_outcome)
        self._reporter = Reporter(
            runtime_id,
            version,
            self._send_report,
            _outcome(applied) if applied else None,
            Backoff(_FIRST_WAIT, _LONGEST_WAIT),
            self._status.counts,
            self._status_file.changed,
        )
        self._stream = ConfigurationStream(
            runtime_id,
            plane.director_channel,
            applied.configuration if applied else None,
            Backoff(_FIRST_WAIT, _LONGEST_WAIT),
            self._status.counts,
            on_configuration=self._applier.offer,
            on_connected=self._on_connected,
            on_counted=self._status_file.changed,
        )
        identity = Identity(home.identity, clock)
        self._renewal = RenewalLoop(
            identity, self._send_renewal, self._on_renewed, recover=partial(self._recover, identity, clock), clock=clock
        )
        if applied:
            self._show(_outcome(applied), applied)

    def renew_now(self) -> None:
        """Renew the certificate before its time."""
        self._renewal.renew_now()

    async def run(self) -> None:
        """Speak until cancelled. Raises `Stopped` (REFUSED) when the identity is lost: only a new token helps then.

        A certificate that expired is recovered, where the Connector does so.
        """
        self._status_file.write()
        try:
            async with asyncio.TaskGroup() as parts:
                for part in (self._status_file, self._reporter, self._applier, self._stream, self._renewal):
                    parts.create_task(part.run())
        except ExceptionGroup as group:
            lost = group.subgroup((IdentityExpired, IdentityRefused))
            if lost is None:
                raise
            raise Stopped(
                Exit.REFUSED,
                f"{lost.exceptions[0]}: ask an administrator for a one-time token for this runtime "
                "(`moorage token issue`), and start again with it",
            ) from group
        finally:
            self._status_file.write()

    def _on_outcome(self, outcome: Outcome) -> None:
        _log.info(outcome.state_name.lower(), revision=outcome.revision)
        self._reporter.put(outcome)
        self._show(outcome, self._applier.applied)

    def _show(self, outcome: Outcome, applied: Applied | None) -> None:
        status = self._status
        status.state = outcome.state_name
        status.failure = Failure(outcome.revision, outcome.failures[0].message) if outcome.failures else None
        if applied:
            status.revision = applied.configuration.revision
            status.content_sha256 = applied.configuration.content_sha256
            status.applied_at = applied.applied_at
        self._status_file.changed()

    def _on_connected(self, connected: bool) -> None:
        _log.info("connected" if connected else "disconnected")
        self._status.connected = connected
        self._status_file.changed()
        if connected:
            self._reporter.repeat()

    async def _on_renewed(self, loaded: LoadedIdentity, addresses: PlaneAddresses) -> None:
        self._status.certificate = _certificate(loaded)
        self._status.counts.renewals += 1
        self._status_file.changed()
        self._plane.move(addresses)
        self._stream.renew()
        try:
            await asyncio.to_thread(self._home.save_addresses, addresses)
        except OSError as error:
            _log.warning("the plane's addresses cannot be saved", failure=error.strerror)

    async def _send_report(self, request: ReportConfigurationRequest) -> ReportConfigurationResponse:
        director = self._plane.director()
        return await director.ReportConfiguration(request, timeout=CALL_TIMEOUT, wait_for_ready=True)

    async def _recover(self, identity: Identity, clock: Clock) -> PlaneAddresses:
        address = (await asyncio.to_thread(self._home.addresses)).enrolment
        if not address:
            raise NotRecovered("it is not known where to recover it")
        return await recover(identity, address, clock)

    async def _send_renewal(self, request: RenewRequest) -> RenewResponse:
        counts = self._status.counts
        try:
            response = await self._plane.connector().Renew(request, timeout=CALL_TIMEOUT)
        except grpc.aio.AioRpcError:
            counts.attempts_failed += 1
            raise
        finally:
            self._status_file.changed()
        counts.calls_ok += 1
        return response


def _outcome(applied: Applied) -> Outcome:
    configuration = applied.configuration
    return Outcome(REPORT_STATE_APPLIED, configuration.revision, configuration.content_sha256)


def _certificate(loaded: LoadedIdentity) -> Certificate:
    return Certificate(loaded.serial, loaded.not_after)

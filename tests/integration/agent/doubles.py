"""Stand-ins for the plane's services, on real listeners: each does what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from moorage.connector.v1.connector_pb2_grpc import ConnectorServicer
from moorage.connector.v1.enrolment_pb2 import (
    EnrollRequest,
    EnrollResponse,
    IssuedIdentity,
    PlaneAddresses,
    RenewRequest,
    RenewResponse,
)
from moorage.director.v1.configuration_pb2 import (
    ReportConfigurationRequest,
    ReportConfigurationResponse,
    WatchConfigurationRequest,
    WatchConfigurationResponse,
)
from moorage.director.v1.director_pb2_grpc import DirectorServicer
from moorage.errors.v1.errors_pb2 import Reason

from certs.issue import issue
from certs.request import checked_public_key
from certs.spiffe import SpiffeId
from mesh.errors import Refusal
from tests.support.configurations import Shape, bookmark, delta, snapshot, whole
from tests.support.identities import Mint

Messages = Sequence[WatchConfigurationResponse]


@dataclass(eq=False)
class Stream:
    """One open stream."""

    request: WatchConfigurationRequest
    to_send: "asyncio.Queue[Messages | Refusal | None]" = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def resumed_from(self) -> int | None:
        return self.request.resume.revision if self.request.HasField("resume") else None


class DirectorDouble(DirectorServicer):
    """Streams the configuration that `change` sets, resumes where it can, and takes reports.

    `opening` may replace what a stream begins with; `refusals` are raised first, in turn.
    """

    def __init__(self) -> None:
        self.history: list[Shape] = [{}]
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.open: set[Stream] = set()
        self.reports: asyncio.Queue[ReportConfigurationRequest] = asyncio.Queue()
        self.opening: Callable[[WatchConfigurationRequest], Messages] = self.first_messages
        self.refusals: list[Refusal] = []
        self.most_open = 0

    @property
    def revision(self) -> int:
        return len(self.history)

    def change(self, shape: Shape, *, chunk: int = 1000) -> str:
        """The next revision: `shape`, streamed to everybody. Gives its content hash."""
        before = self.history[-1]
        self.history.append(shape)
        for stream in self.open:
            stream.to_send.put_nowait(delta(before, shape, self.revision, chunk))
        return whole(shape, self.revision).content_sha256

    def end_streams(self) -> None:
        for stream in self.open:
            stream.to_send.put_nowait(None)

    def first_messages(self, request: WatchConfigurationRequest) -> Messages:
        shape = self.history[-1]
        if not request.HasField("resume"):
            return snapshot(shape, self.revision)
        if request.resume.revision == self.revision:
            return [bookmark(self.revision)]
        return delta(self.history[request.resume.revision - 1], shape, self.revision)

    async def WatchConfiguration(
        self, request: WatchConfigurationRequest, context: Any
    ) -> AsyncIterator[WatchConfigurationResponse]:
        stream = Stream(request)
        if self.refusals:
            self.streams.put_nowait(stream)
            raise self.refusals.pop(0)
        self.open.add(stream)
        self.most_open = max(self.most_open, len(self.open))
        stream.to_send.put_nowait(self.opening(request))
        self.streams.put_nowait(stream)
        try:
            while (messages := await stream.to_send.get()) is not None:
                if isinstance(messages, Refusal):
                    raise messages
                for each in messages:
                    yield each
        finally:
            self.open.discard(stream)
            stream.ended.set()

    async def ReportConfiguration(
        self, request: ReportConfigurationRequest, context: Any
    ) -> ReportConfigurationResponse:
        self.reports.put_nowait(request)
        return ReportConfigurationResponse(accepted=True)


class ConnectorDouble(ConnectorServicer):
    """Enrols whoever shows `token`, once, and renews."""

    def __init__(self, mint: Mint, runtime_id: str, lifetime: timedelta) -> None:
        self.addresses = PlaneAddresses()
        self.token = ""
        self.lifetime = lifetime
        self._mint = mint
        self._spiffe_id = SpiffeId.runtime(mint.trust_domain, runtime_id)

    async def Enroll(self, request: EnrollRequest, context: Any) -> EnrollResponse:
        if request.token != self.token:
            raise Refusal(Reason.REASON_TOKEN_REFUSED, "the token is not accepted")
        self.token = ""
        return EnrollResponse(identity=self._identity(request.csr), addresses=self.addresses)

    async def Renew(self, request: RenewRequest, context: Any) -> RenewResponse:
        return RenewResponse(identity=self._identity(request.csr), addresses=self.addresses)

    def _identity(self, csr: bytes) -> IssuedIdentity:
        mint = self._mint
        issued = issue(mint.issuing, checked_public_key(csr), self._spiffe_id, self.lifetime, mint.clock)
        return IssuedIdentity(
            spiffe_id=str(self._spiffe_id),
            certificate_chain_pem=issued.chain_pem.decode(),
            trust_bundle_pem=mint.root.chain_pem.decode(),
            serial_number=issued.serial_hex,
        )

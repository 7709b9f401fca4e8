"""How a command reaches the plane: where its services are, as whom it calls, and what becomes of a call.

Nothing of gRPC is imported before the first call, so that help and usage errors come at once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from cli.output import Output, tell
from cli.plane.home import Home
from cli.plane.plane_file import read_plane
from mesh.address import AddressRefused, target_of
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    import grpc
    from google.longrunning.operations_pb2_grpc import OperationsStub
    from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
    from moorage.director.v1.director_pb2_grpc import DirectorStub
    from moorage.provisioner.v1.provisioner_pb2_grpc import ProvisionerStub

    from certs.identity import LoadedIdentity
    from mesh.errors import Problem

ADDRESSES_FILE = "addresses.json"
"""Beside an identity that `moorage pair` wrote: where the services are."""

FIRST_WAIT = timedelta(milliseconds=100)
LONGEST_WAIT = timedelta(seconds=2)
LARGEST_PAGE = 1000


class PagedRequest(Protocol):
    """A request of a List method (AIP-158)."""

    page_size: int
    page_token: str


class Page(Protocol):
    """A response of a List method (AIP-158)."""

    next_page_token: str


Stub = TypeVar("Stub")
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
PagedRequestT = TypeVar("PagedRequestT", bound=PagedRequest)
PageT = TypeVar("PageT", bound=Page)
OpenChannel = Callable[[str], "grpc.aio.Channel"]


@dataclass(frozen=True)
class Target:
    """The plane, the identity and the deadline, as the command line chose them."""

    home: Home
    identity: Path | None
    """None: the administrator's in the home."""
    addresses: Mapping[str, str | None]
    """`director`, `connector`, `provisioner`, as `mesh.address` reads them; None: as the identity's folder or the home
    say."""
    timeout: float
    """Seconds that a call has, its retries included."""
    renews: bool = False
    """Whether the identity is this command's to renew once most of its life is over."""

    @property
    def identity_folder(self) -> Path:
        """The folder with `tls.crt`, `tls.key` and `ca.crt`."""
        return self.identity or self.home.identity("admin")

    def address(self, service: str) -> str:
        """Where a service is: from the command line, else the identity's folder, else the home's plane.

        Raises `Stopped` (UNAVAILABLE) where no plane runs in the home, (BAD_INPUT) for addresses that make no sense.
        """
        chosen = self.addresses.get(service)
        if chosen is None and self.identity is not None:
            chosen = _addresses_of(self.identity / ADDRESSES_FILE).get(service)
        if chosen is None:
            chosen = str(getattr(read_plane(self.home.plane), service))
        try:
            target_of(chosen)
        except AddressRefused as error:
            raise Stopped(Exit.BAD_INPUT, f"the {service.capitalize()} cannot be reached: {error}") from error
        return chosen


class Peer(Generic[Stub]):
    """One service of the plane, as the command calls it."""

    def __init__(self, service: str, address: str, stub: Stub, timeout: float) -> None:
        self.service = service
        self.address = address
        self.stub = stub
        self.timeout = timeout

    async def call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]", request: RequestT
    ) -> ResponseT:
        """Call a method; while the service is UNAVAILABLE try again, with backoff, until the deadline.

        A repeated request does no harm: creations carry a request id (AIP-155), and everything else says what should
        be. A deletion, or a change with an etag, whose reply was lost answers NOT_FOUND or ABORTED when repeated.
        Raises `grpc.aio.AioRpcError` for a refusal, `Stopped` (UNAVAILABLE, DEADLINE) where nothing answered.
        """

        async def attempt(left: float) -> ResponseT:
            return await method(request, timeout=left)

        return await self._tried(attempt)

    async def all(
        self, method: "grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT]", request: RequestT
    ) -> list[ResponseT]:
        """All messages of a stream that ends by itself, tried again from its beginning and raising as `call` does."""

        async def attempt(left: float) -> list[ResponseT]:
            return [message async for message in method(request, timeout=left)]

        return await self._tried(attempt)

    async def pages(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[PagedRequestT, PageT]", request: PagedRequestT
    ) -> AsyncIterator[PageT]:
        """Every page of a List method, first to last."""
        request.page_size = request.page_size or LARGEST_PAGE
        while True:
            page = await self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _tried(self, attempt: Callable[[float], Awaitable[ResponseT]]) -> ResponseT:
        import grpc

        from mesh.backoff import Backoff
        from mesh.errors import Problem

        clock = asyncio.get_running_loop().time
        deadline = clock() + self.timeout
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        away: grpc.aio.AioRpcError | None = None
        while True:
            try:
                return await attempt(max(deadline - clock(), 0))
            except grpc.aio.AioRpcError as error:
                problem = Problem.of(error)
                if problem.code is grpc.StatusCode.DEADLINE_EXCEEDED and not problem.reason:
                    if away is not None:
                        self._give_up(away)
                    raise Stopped(
                        Exit.DEADLINE,
                        f"the {self.service} at {self.address} did not answer within {self.timeout:g} s: try again, or "
                        "give it longer with --timeout",
                    ) from error
                if problem.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                wait = backoff.next(problem.retry_after)
                if clock() + wait >= deadline:
                    self._give_up(error)
                if away is None:
                    tell(f"the {self.service} at {self.address} does not answer; trying again for {self.timeout:g} s")
                away = error
            await asyncio.sleep(wait)

    def _give_up(self, last: "grpc.aio.AioRpcError") -> NoReturn:
        """Raise the last word of a service that stayed away."""
        from mesh.errors import Problem

        problem = Problem.of(last)
        if problem.reason:
            raise last
        raise self.unreachable(problem) from last

    def unreachable(self, problem: "Problem") -> Stopped:
        """What to tell where nothing that speaks for the service answered."""
        return Stopped(
            Exit.UNAVAILABLE,
            f"the {self.service} at {self.address} does not answer ({problem.message}): see whether the plane is up, "
            f"or name another with --home or --{self.service.lower()}",
        )


class Connection:
    """The plane's services as one identity calls them, and where the answers go. Channels open at the first call."""

    def __init__(self, target: Target, output: Output, open_channel: OpenChannel | None = None) -> None:
        self.timeout = target.timeout
        self.output = output
        self._target = target
        self._open_channel = open_channel or self._open_mtls_channel
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def begin(self) -> None:
        """Do what comes before the first call: renew the identity where it is time. Raises as `renew_if_due` does."""
        if self._target.renews and self._target.identity_folder.exists():
            from cli.renewal import renew_if_due

            await renew_if_due(self._target)

    @cached_property
    def identity(self) -> "LoadedIdentity":
        """Who calls. Raises `IdentityRefused`; `Stopped` (BAD_INPUT) where it cannot be read."""
        from certs.identity import Identity

        try:
            return Identity(self._target.identity_folder).load()
        except OSError as error:
            raise Stopped(
                Exit.BAD_INPUT, f"the identity in {self._target.identity_folder} cannot be read: {error.strerror}"
            ) from error

    @cached_property
    def director(self) -> "Peer[DirectorStub]":
        """The Director."""
        from moorage.director.v1.director_pb2_grpc import DirectorStub

        return self._peer("Director", DirectorStub)

    @cached_property
    def connector(self) -> "Peer[ConnectorStub]":
        """The Connector, on its mTLS listener."""
        from moorage.connector.v1.connector_pb2_grpc import ConnectorStub

        return self._peer("Connector", ConnectorStub)

    @cached_property
    def provisioner(self) -> "Peer[ProvisionerStub]":
        """The Provisioner."""
        from moorage.provisioner.v1.provisioner_pb2_grpc import ProvisionerStub

        return self._peer("Provisioner", ProvisionerStub)

    @cached_property
    def operations(self) -> "Peer[OperationsStub]":
        """The Provisioner's operations (AIP-151)."""
        from google.longrunning.operations_pb2_grpc import OperationsStub

        return self._peer("Provisioner", OperationsStub)

    def health(self, service: str) -> "Peer[Any]":  # its published types do not know its methods
        """The standard health service beside one of the others: `Director`, `Connector` or `Provisioner`."""
        from grpc_health.v1.health_pb2_grpc import HealthStub

        return self._peer(service, HealthStub)

    async def close(self) -> None:
        """Close what was opened."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _peer(self, service: str, make: "Callable[[grpc.aio.Channel], Stub]") -> Peer[Stub]:
        address = self._target.address(service.lower())
        if address not in self._channels:
            self._channels[address] = self._open_channel(address)
        return Peer(service, address, make(self._channels[address]), self.timeout)

    def _open_mtls_channel(self, address: str) -> "grpc.aio.Channel":
        from mesh.channel import open_channel

        return open_channel(address, self.identity)


def _addresses_of(file: Path) -> dict[str, str]:
    try:
        return {str(service): str(address) for service, address in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise Stopped(
            Exit.BAD_INPUT, f"{file} is not what `moorage pair` wrote: pair again, or name the addresses as options"
        ) from error

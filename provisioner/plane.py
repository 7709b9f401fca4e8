"""What the Provisioner asks of the Director and the Connector."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, DeleteRuntimeRequest, GetRuntimeRequest, Runtime
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1 import runtime_pb2 as asked

from certs.identity import IdentityRefused
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.errors import Problem, Refusal, Violation

T = TypeVar("T")

_RETRY_AFTER = timedelta(seconds=1)
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""CANCELLED too: so ends a call on a channel that was closed, long after our certificate's renewal replaced it."""
_PASSED_ON = {
    Reason.REASON_FIELD_INVALID,
    Reason.REASON_LABEL_INVALID,
    Reason.REASON_NAME_TAKEN,
    Reason.REASON_GROUP_NOT_FOUND,
    Reason.REASON_RUNTIME_NOT_FOUND,
}
"""Refusals of the Director that are about what our own caller asked for."""

_log = telemetry.logger("plane")


class Plane(Protocol):
    """The rest of the plane.

    Each method raises `Refusal`: as the other service did, where that concerns what was asked of us;
    DEPENDENCY_UNAVAILABLE where it is away; INTERNAL otherwise.
    """

    async def check(self, request: asked.CreateRuntimeRequest) -> None:
        """Have the Director check all that `register` would do, and change nothing."""

    async def register(self, request: asked.CreateRuntimeRequest, request_id: str) -> str:
        """Create the Runtime at the Director and return its id; repeated with the same id, it is the same Runtime."""

    async def runtime(self, runtime_id: str) -> Runtime:
        """The Runtime as the Director has it."""

    async def deregister(self, runtime_id: str) -> None:
        """Delete the Runtime at the Director; one that is not there is fine."""

    async def issue_token(self, runtime_id: str) -> str:
        """A new one-time token for the Runtime from the Connector."""


class MeshPlane:
    """The plane over mTLS. Times are in seconds."""

    def __init__(self, director: LiveChannel, connector: LiveChannel, *, timeout: float, token_ttl: float) -> None:
        self._director = director
        self._connector = connector
        self._timeout = timeout
        self._token_ttl = token_ttl

    async def check(self, request: asked.CreateRuntimeRequest) -> None:
        """See `Plane.check`."""
        at_director = _creation(request, validate_only=True)
        await _asked("director", lambda: self._at_director().CreateRuntime(at_director, timeout=self._timeout))

    async def register(self, request: asked.CreateRuntimeRequest, request_id: str) -> str:
        """See `Plane.register`."""
        creation = _creation(request, request_id=request_id)
        response = await _asked("director", lambda: self._at_director().CreateRuntime(creation, timeout=self._timeout))
        return response.runtime.runtime_id

    async def runtime(self, runtime_id: str) -> Runtime:
        """See `Plane.runtime`."""
        request = GetRuntimeRequest(runtime_id=runtime_id)
        return (
            await _asked("director", lambda: self._at_director().GetRuntime(request, timeout=self._timeout))
        ).runtime

    async def deregister(self, runtime_id: str) -> None:
        """See `Plane.deregister`."""
        request = DeleteRuntimeRequest(runtime_id=runtime_id, force=True)
        try:
            await _asked("director", lambda: self._at_director().DeleteRuntime(request, timeout=self._timeout))
        except Refusal as refusal:
            if refusal.reason != Reason.REASON_RUNTIME_NOT_FOUND:
                raise

    async def issue_token(self, runtime_id: str) -> str:
        """See `Plane.issue_token`."""
        ttl = Duration()
        ttl.FromTimedelta(timedelta(seconds=self._token_ttl))
        request = IssueTokenRequest(runtime_id=runtime_id, ttl=ttl)
        connector = self._connector
        return (
            await _asked("connector", lambda: connector.stub(ConnectorStub).IssueToken(request, timeout=self._timeout))
        ).token

    def _at_director(self) -> DirectorStub:
        return self._director.stub(DirectorStub)


def _creation(
    request: asked.CreateRuntimeRequest, *, request_id: str = "", validate_only: bool = False
) -> CreateRuntimeRequest:
    entry = Runtime(
        name=request.name, description=request.description, event_url=request.event_url, labels=request.labels
    )
    return CreateRuntimeRequest(
        runtime=entry,
        group_ids=request.group_ids,
        request_id=request_id,
        validate_only=validate_only,
    )


async def _asked(service: str, call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    except (IdentityRefused, OSError) as error:
        _log.error("no identity to call with", service=service, error=str(error))
        raise _away(service) from error
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        refusal = problem.as_refusal()
        if problem.code in _AWAY:
            raise _away(service) from error
        if refusal is not None and refusal.reason in _PASSED_ON:
            raise Refusal(
                refusal.reason,
                refusal.message,
                violations=[Violation(_our_field(each.field), each.description) for each in refusal.violations],
                metadata=refusal.metadata,
            ) from error
        _log.error("refused by another service", service=service, reason=problem.reason, problem=problem.message)
        raise Refusal(Reason.REASON_INTERNAL, f"the {service} refused what the provisioner asked of it") from error


def _our_field(field: str) -> str:
    # Our own request has at its top what the Director's has within `runtime`.
    return field.removeprefix("runtime.")


def _away(service: str) -> Refusal:
    return Refusal(
        Reason.REASON_DEPENDENCY_UNAVAILABLE,
        f"the {service} did not answer",
        metadata={"service": service},
        retry_after=_RETRY_AFTER,
    )

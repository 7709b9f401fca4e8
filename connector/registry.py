"""What the Connector asks the Director: whether an Application or a Runtime is registered."""

from datetime import timedelta
from typing import Protocol

import grpc
from moorage.director.v1.application_pb2 import GetApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import IdentityRefused
from certs.spiffe import Kind, SpiffeId
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.errors import Problem

_log = telemetry.logger("registry")


class DirectorAway(Exception):
    """The Director gave no answer, or none that says whether the party exists."""


class Registry(Protocol):
    """Knows which Applications and Runtimes there are."""

    async def knows(self, party: SpiffeId) -> bool:
        """Whether the Application or Runtime is registered; raises `DirectorAway`."""


class DirectorRegistry:
    """The registry in the Director, asked over mTLS."""

    def __init__(self, channel: LiveChannel, timeout: timedelta) -> None:
        self._channel = channel
        self._timeout = timeout.total_seconds()

    async def knows(self, party: SpiffeId) -> bool:
        """Whether the Application or Runtime is registered; raises `DirectorAway`."""
        # A Director that is just restarting is waited for, within the same deadline.
        try:
            director = self._channel.stub(DirectorStub)
            if party.kind is Kind.APPLICATION:
                application = GetApplicationRequest(application_id=party.name)
                await director.GetApplication(application, timeout=self._timeout, wait_for_ready=True)
            else:
                runtime = GetRuntimeRequest(runtime_id=party.name)
                await director.GetRuntime(runtime, timeout=self._timeout, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            if problem.is_reason(NOT_FOUND[party.kind]):
                return False
            _log.warning("director did not answer", code=problem.code.name, reason=problem.reason)
            raise DirectorAway(problem.message) from error
        except (IdentityRefused, OSError) as error:
            _log.error("no identity to ask the director with", error=str(error))
            raise DirectorAway(str(error)) from error
        return True


NOT_FOUND = {
    Kind.APPLICATION: Reason.REASON_APPLICATION_NOT_FOUND,
    Kind.RUNTIME: Reason.REASON_RUNTIME_NOT_FOUND,
}
"""Why a party that is not registered is refused; parties of other kinds are not in the registry."""

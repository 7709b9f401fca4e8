"""The Director's calls that concern Runtimes and their reports."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from moorage.director.v1.configuration_pb2 import (
    ReportConfigurationRequest,
    ReportConfigurationResponse,
    ReportState,
)
from moorage.director.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    CreateRuntimeResponse,
    DeleteRuntimeRequest,
    DeleteRuntimeResponse,
    GetRuntimeRequest,
    GetRuntimeResponse,
    ListRuntimesRequest,
    ListRuntimesResponse,
    UpdateRuntimeRequest,
    UpdateRuntimeResponse,
    WatchRuntimesRequest,
    WatchRuntimesResponse,
)

from director import reports, runtimes
from director.service.calls import Calls, Context
from mesh import telemetry


class RuntimeCalls(Calls):
    """Calls that concern Runtimes and their reports."""

    async def CreateRuntime(self, request: CreateRuntimeRequest, context: Context) -> CreateRuntimeResponse:
        """Register a Runtime."""
        return await self._change(runtimes.create_runtime, request)

    async def GetRuntime(self, request: GetRuntimeRequest, context: Context) -> GetRuntimeResponse:
        """Read a Runtime."""
        # Not a glance: what it is to run is found out from all that its groups have and had.
        return await self._database.read(runtimes.get_runtime, request)

    async def ListRuntimes(self, request: ListRuntimesRequest, context: Context) -> ListRuntimesResponse:
        """Read a page of Runtimes."""
        return await self._database.read(runtimes.list_runtimes, request)

    async def UpdateRuntime(self, request: UpdateRuntimeRequest, context: Context) -> UpdateRuntimeResponse:
        """Change a Runtime."""
        return await self._change(runtimes.update_runtime, request)

    async def DeleteRuntime(self, request: DeleteRuntimeRequest, context: Context) -> DeleteRuntimeResponse:
        """Remove a Runtime."""
        return await self._change(runtimes.delete_runtime, request)

    async def ReportConfiguration(
        self, request: ReportConfigurationRequest, context: Context
    ) -> ReportConfigurationResponse:
        """Take an agent's report."""
        response = await self._change(reports.report_configuration, request)
        if response.accepted:
            telemetry.REPORTS.labels(ReportState.Name(request.state).removeprefix("REPORT_STATE_")).inc()
        return response

    async def WatchRuntimes(
        self, request: WatchRuntimesRequest, context: Context
    ) -> AsyncGenerator[WatchRuntimesResponse, None]:
        """Stream the Runtimes to an operator."""
        async with aclosing(self._parts.runtime_hub.watch()) as messages:
            async for message in messages:
                yield message

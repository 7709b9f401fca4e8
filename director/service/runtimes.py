"""The Director's calls that concern Runtimes and their reports."""

from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportConfigurationResponse
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
)

from director import reports, runtimes
from director.service.calls import Calls, Context


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
        return await self._change(reports.report_configuration, request)

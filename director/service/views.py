"""The Director's calls that concern what Runtimes and Applications see of the registry."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
    WatchApplicationConfigurationRequest,
    WatchApplicationConfigurationResponse,
    WatchConfigurationRequest,
)

from certs.spiffe import Kind
from director.application_view import get_application_configuration
from director.service.calls import Calls, Context
from mesh.call import current_caller


class ViewCalls(Calls):
    """Calls that concern what Runtimes and Applications see of the registry."""

    def WatchConfiguration(self, request: WatchConfigurationRequest, context: Context) -> AsyncGenerator[Any, None]:
        """Stream a Runtime's configuration; the hub's messages come serialised, once for all who read the same."""
        by_agent = current_caller().kind is Kind.RUNTIME  # an operator who looks on is not to report
        return self._parts.hub.watch(request, by_agent=by_agent)

    async def GetApplicationConfiguration(
        self, request: GetApplicationConfigurationRequest, context: Context
    ) -> GetApplicationConfigurationResponse:
        """Read the Runtimes that an Application serves."""
        return await self._database.read(get_application_configuration, request, self._parts.trust_domain)

    async def WatchApplicationConfiguration(
        self, request: WatchApplicationConfigurationRequest, context: Context
    ) -> AsyncGenerator[WatchApplicationConfigurationResponse, None]:
        """Stream the Runtimes that an Application serves."""
        async with aclosing(self._parts.application_hub.watch(request)) as messages:
            async for message in messages:
                yield message

"""The Director's gRPC shape: message in, one call, message out. The call pipeline has checked each request before."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from moorage.director.v1.api_pb2 import (
    CreateApiRequest,
    CreateApiResponse,
    DeleteApiRequest,
    DeleteApiResponse,
    GetApiRequest,
    GetApiResponse,
    ListApisRequest,
    ListApisResponse,
    UpdateApiRequest,
    UpdateApiResponse,
)
from moorage.director.v1.application_pb2 import (
    CreateApplicationRequest,
    CreateApplicationResponse,
    DeleteApplicationRequest,
    DeleteApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
    ReportConfigurationRequest,
    ReportConfigurationResponse,
    WatchConfigurationRequest,
)
from moorage.director.v1.director_pb2_grpc import DirectorServicer
from moorage.director.v1.event_api_pb2 import (
    CreateEventApiRequest,
    CreateEventApiResponse,
    DeleteEventApiRequest,
    DeleteEventApiResponse,
    GetEventApiRequest,
    GetEventApiResponse,
    ListEventApisRequest,
    ListEventApisResponse,
    UpdateEventApiRequest,
    UpdateEventApiResponse,
)
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    AddGroupMembersResponse,
    CreateGroupRequest,
    CreateGroupResponse,
    DeleteGroupRequest,
    DeleteGroupResponse,
    GetGroupRequest,
    GetGroupResponse,
    ListGroupMembersRequest,
    ListGroupMembersResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    RemoveGroupMembersRequest,
    RemoveGroupMembersResponse,
    UpdateGroupRequest,
    UpdateGroupResponse,
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
)
from moorage.director.v1.webhook_pb2 import (
    DeleteWebhookRequest,
    DeleteWebhookResponse,
    GetWebhookRequest,
    GetWebhookResponse,
    UpdateWebhookRequest,
    UpdateWebhookResponse,
)

from certs.clock import Clock
from director import apis, applications, event_apis, groups, reports, runtimes
from director.application_view import get_application_configuration
from director.mutate import Occasion, Unit, mutate
from director.offers import Document, Offer
from director.specifications.inspector import Inspector
from director.stream.hub import Hub
from director.webhooks import settings as webhooks
from mesh.call import current_caller, current_request_id
from mesh.database import Database
from mesh.sealing import Seal

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class DirectorService(DirectorServicer):
    """Serves `moorage.director.v1.Director`. `new_id()` gives the UUIDs of new resources."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        inspector: Inspector,
        seal: Seal,
        trust_domain: str,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._hub = hub
        self._inspector = inspector
        self._seal = seal
        self._trust_domain = trust_domain
        self._clock = clock
        self._new_id = new_id

    async def CreateApplication(self, request: CreateApplicationRequest, context: Context) -> CreateApplicationResponse:
        """Register an Application."""
        return await self._change(applications.create_application, request)

    async def GetApplication(self, request: GetApplicationRequest, context: Context) -> GetApplicationResponse:
        """Read an Application."""
        return await self._database.glance(applications.get_application, request)

    async def ListApplications(self, request: ListApplicationsRequest, context: Context) -> ListApplicationsResponse:
        """Read a page of Applications."""
        return await self._database.read(applications.list_applications, request)

    async def UpdateApplication(self, request: UpdateApplicationRequest, context: Context) -> UpdateApplicationResponse:
        """Change an Application."""
        return await self._change(applications.update_application, request)

    async def DeleteApplication(self, request: DeleteApplicationRequest, context: Context) -> DeleteApplicationResponse:
        """Remove an Application."""
        return await self._change(applications.delete_application, request)

    async def GetWebhook(self, request: GetWebhookRequest, context: Context) -> GetWebhookResponse:
        """Read an Application's webhook."""
        return await self._database.glance(webhooks.get_webhook, request)

    async def UpdateWebhook(self, request: UpdateWebhookRequest, context: Context) -> UpdateWebhookResponse:
        """Set an Application's webhook."""
        return await self._change(partial(webhooks.update_webhook, seal=self._seal), request)

    async def DeleteWebhook(self, request: DeleteWebhookRequest, context: Context) -> DeleteWebhookResponse:
        """Remove an Application's webhook."""
        return await self._change(webhooks.delete_webhook, request)

    async def CreateApi(self, request: CreateApiRequest, context: Context) -> CreateApiResponse:
        """Register an API."""
        document = await self._inspected(request.api)
        return await self._change(partial(apis.create_api, document=document), request)

    async def GetApi(self, request: GetApiRequest, context: Context) -> GetApiResponse:
        """Read an API."""
        return await self._database.read(apis.get_api, request)

    async def ListApis(self, request: ListApisRequest, context: Context) -> ListApisResponse:
        """Read a page of APIs."""
        return await self._database.read(apis.list_apis, request)

    async def UpdateApi(self, request: UpdateApiRequest, context: Context) -> UpdateApiResponse:
        """Change an API."""
        document = await self._inspected(request.api)
        return await self._change(partial(apis.update_api, document=document), request)

    async def DeleteApi(self, request: DeleteApiRequest, context: Context) -> DeleteApiResponse:
        """Remove an API."""
        return await self._change(apis.delete_api, request)

    async def CreateEventApi(self, request: CreateEventApiRequest, context: Context) -> CreateEventApiResponse:
        """Register an Event API."""
        document = await self._inspected(request.event_api)
        return await self._change(partial(event_apis.create_event_api, document=document), request)

    async def GetEventApi(self, request: GetEventApiRequest, context: Context) -> GetEventApiResponse:
        """Read an Event API."""
        return await self._database.read(event_apis.get_event_api, request)

    async def ListEventApis(self, request: ListEventApisRequest, context: Context) -> ListEventApisResponse:
        """Read a page of Event APIs."""
        return await self._database.read(event_apis.list_event_apis, request)

    async def UpdateEventApi(self, request: UpdateEventApiRequest, context: Context) -> UpdateEventApiResponse:
        """Change an Event API."""
        document = await self._inspected(request.event_api)
        return await self._change(partial(event_apis.update_event_api, document=document), request)

    async def DeleteEventApi(self, request: DeleteEventApiRequest, context: Context) -> DeleteEventApiResponse:
        """Remove an Event API."""
        return await self._change(event_apis.delete_event_api, request)

    async def CreateGroup(self, request: CreateGroupRequest, context: Context) -> CreateGroupResponse:
        """Create a Group."""
        return await self._change(groups.create_group, request)

    async def GetGroup(self, request: GetGroupRequest, context: Context) -> GetGroupResponse:
        """Read a Group."""
        return await self._database.glance(groups.get_group, request)

    async def ListGroups(self, request: ListGroupsRequest, context: Context) -> ListGroupsResponse:
        """Read a page of Groups."""
        return await self._database.read(groups.list_groups, request)

    async def UpdateGroup(self, request: UpdateGroupRequest, context: Context) -> UpdateGroupResponse:
        """Change a Group."""
        return await self._change(groups.update_group, request)

    async def DeleteGroup(self, request: DeleteGroupRequest, context: Context) -> DeleteGroupResponse:
        """Remove a Group."""
        return await self._change(groups.delete_group, request)

    async def AddGroupMembers(self, request: AddGroupMembersRequest, context: Context) -> AddGroupMembersResponse:
        """Add members to a Group."""
        return await self._change(groups.add_group_members, request)

    async def RemoveGroupMembers(
        self, request: RemoveGroupMembersRequest, context: Context
    ) -> RemoveGroupMembersResponse:
        """Remove members from a Group."""
        return await self._change(groups.remove_group_members, request)

    async def ListGroupMembers(self, request: ListGroupMembersRequest, context: Context) -> ListGroupMembersResponse:
        """Read a page of a Group's members."""
        return await self._database.read(groups.list_group_members, request)

    async def CreateRuntime(self, request: CreateRuntimeRequest, context: Context) -> CreateRuntimeResponse:
        """Register a Runtime."""
        return await self._change(runtimes.create_runtime, request)

    async def GetRuntime(self, request: GetRuntimeRequest, context: Context) -> GetRuntimeResponse:
        """Read a Runtime."""
        return await self._database.glance(runtimes.get_runtime, request)

    async def ListRuntimes(self, request: ListRuntimesRequest, context: Context) -> ListRuntimesResponse:
        """Read a page of Runtimes."""
        return await self._database.read(runtimes.list_runtimes, request)

    async def UpdateRuntime(self, request: UpdateRuntimeRequest, context: Context) -> UpdateRuntimeResponse:
        """Change a Runtime."""
        return await self._change(runtimes.update_runtime, request)

    async def DeleteRuntime(self, request: DeleteRuntimeRequest, context: Context) -> DeleteRuntimeResponse:
        """Remove a Runtime."""
        return await self._change(runtimes.delete_runtime, request)

    async def WatchConfiguration(
        self, request: WatchConfigurationRequest, context: Context
    ) -> AsyncGenerator[Any, None]:
        """Stream a Runtime's configuration; the hub's messages come serialised, once for all who read the same."""
        async with aclosing(self._hub.watch(request)) as messages:
            async for message in messages:
                yield message

    async def ReportConfiguration(
        self, request: ReportConfigurationRequest, context: Context
    ) -> ReportConfigurationResponse:
        """Take an agent's report."""
        return await self._change(reports.report_configuration, request)

    async def GetApplicationConfiguration(
        self, request: GetApplicationConfigurationRequest, context: Context
    ) -> GetApplicationConfigurationResponse:
        """Read the Runtimes that an Application serves."""
        return await self._database.read(get_application_configuration, request, self._trust_domain)

    async def _change(self, unit: Unit[Request, Response], request: Request) -> Response:
        occasion = Occasion(self._clock(), str(current_caller().spiffe_id), current_request_id(), self._new_id)
        return await self._database.write(mutate, occasion, unit, request)

    async def _inspected(self, offer: Offer) -> Document:
        """Look into the document that came with an offer, before the unit of work, for it may take seconds."""
        return await self._inspector.inspect(offer.specification) if offer.HasField("specification") else None

"""The Director's calls that concern Applications and their webhooks."""

from functools import partial

from moorage.director.v1.application_pb2 import (
    ConfirmPairingRequest,
    ConfirmPairingResponse,
    CreateApplicationRequest,
    CreateApplicationResponse,
    DeleteApplicationRequest,
    DeleteApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    ReportApplicationStatusRequest,
    ReportApplicationStatusResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from moorage.director.v1.webhook_pb2 import (
    DeleteWebhookRequest,
    DeleteWebhookResponse,
    DeliverTokenRequest,
    DeliverTokenResponse,
    GetWebhookRequest,
    GetWebhookResponse,
    UpdateWebhookRequest,
    UpdateWebhookResponse,
)

from director import application_states, applications
from director.service.calls import Calls, Context
from director.times import to_micros
from director.webhooks import settings as webhooks


class ApplicationCalls(Calls):
    """Calls that concern Applications and their webhooks."""

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

    async def ReportApplicationStatus(
        self, request: ReportApplicationStatusRequest, context: Context
    ) -> ReportApplicationStatusResponse:
        """Take an Application's word on how it fares."""
        now = to_micros(self._parts.clock())
        return await self._database.write(application_states.report_application_status, request, now)

    async def ConfirmPairing(self, request: ConfirmPairingRequest, context: Context) -> ConfirmPairingResponse:
        """Take note that an Application has a certificate."""
        now = to_micros(self._parts.clock())
        return await self._database.write(application_states.confirm_pairing, request, now)

    async def GetWebhook(self, request: GetWebhookRequest, context: Context) -> GetWebhookResponse:
        """Read an Application's webhook."""
        return await self._database.glance(webhooks.get_webhook, request)

    async def UpdateWebhook(self, request: UpdateWebhookRequest, context: Context) -> UpdateWebhookResponse:
        """Set an Application's webhook."""
        return await self._change(partial(webhooks.update_webhook, seal=self._parts.seal), request)

    async def DeleteWebhook(self, request: DeleteWebhookRequest, context: Context) -> DeleteWebhookResponse:
        """Remove an Application's webhook."""
        return await self._change(webhooks.delete_webhook, request)

    async def DeliverToken(self, request: DeliverTokenRequest, context: Context) -> DeliverTokenResponse:
        """Hand a one-time token to its Application."""
        return await self._parts.pairing.deliver(request)

"""The Director's calls that concern APIs and Event APIs."""

from functools import partial

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

from director import apis, event_apis
from director.offers import Document, Offer
from director.service.calls import Calls, Context


class OfferCalls(Calls):
    """Calls that concern APIs and Event APIs."""

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

    async def _inspected(self, offer: Offer) -> Document:
        """Look into the document that came with an offer, before the unit of work, for it may take seconds.

        One that is to be fetched did not come with it.
        """
        sent = offer.specification
        return await self._parts.inspector.inspect(sent) if sent.content or sent.data else None

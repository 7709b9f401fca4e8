"""Event APIs: events that Applications offer, or take."""

from moorage.director.v1.event_api_pb2 import (
    CreateEventApiRequest,
    CreateEventApiResponse,
    DeleteEventApiRequest,
    DeleteEventApiResponse,
    EventApi,
    GetEventApiRequest,
    GetEventApiResponse,
    ListEventApisRequest,
    ListEventApisResponse,
    UpdateEventApiRequest,
    UpdateEventApiResponse,
)

from director import holdings, offers
from director.changes import Mutation
from director.kinds import EVENT_API
from director.offers import Document
from director.search.masks import ReadMask
from director.search.resources import EVENT_API_SEARCH
from director.store import Transaction
from director.store.registry import Values


def create_event_api(
    tx: Transaction, mutation: Mutation, request: CreateEventApiRequest, document: Document
) -> CreateEventApiResponse:
    """Register an Event API; raises `Refusal` (APPLICATION_NOT_FOUND, BUNDLE_NOT_FOUND, NAME_TAKEN, LIMIT_REACHED)."""
    return CreateEventApiResponse(
        event_api=_message(offers.create(tx, mutation, EVENT_API, request.event_api, document))
    )


def get_event_api(tx: Transaction, request: GetEventApiRequest) -> GetEventApiResponse:
    """Read an Event API with its document; raises `Refusal` (EVENT_API_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, EventApi.DESCRIPTOR)
    row = offers.get_with_document(tx, EVENT_API, request.application_id, request.event_api_id)
    return GetEventApiResponse(event_api=mask.apply(_message(row)))


def list_event_apis(tx: Transaction, request: ListEventApisRequest) -> ListEventApisResponse:
    """Read a page of Event APIs.

    Raises `Refusal` (APPLICATION_NOT_FOUND, FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).
    """
    listing = holdings.read_holdings(tx, EVENT_API, EVENT_API_SEARCH, request)
    return ListEventApisResponse(
        event_apis=listing.messages(_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_event_api(
    tx: Transaction, mutation: Mutation, request: UpdateEventApiRequest, document: Document
) -> UpdateEventApiResponse:
    """Change an Event API.

    Raises `Refusal` (EVENT_API_NOT_FOUND, BUNDLE_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID,
    NAME_TAKEN).
    """
    row = offers.update(tx, mutation, EVENT_API, request.event_api, request.update_mask, document)
    return UpdateEventApiResponse(event_api=_message(row))


def delete_event_api(tx: Transaction, mutation: Mutation, request: DeleteEventApiRequest) -> DeleteEventApiResponse:
    """Remove an Event API; raises `Refusal` (EVENT_API_NOT_FOUND, ETAG_MISMATCH)."""
    offers.delete(tx, mutation, EVENT_API, request.application_id, request.event_api_id, request.etag)
    return DeleteEventApiResponse()


def _message(row: Values) -> EventApi:
    return EventApi(event_api_id=row["event_api_id"], **offers.common_fields(row))

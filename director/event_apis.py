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
    """Read an Event API with its document; raises `Refusal` (EVENT_API_NOT_FOUND)."""
    row = offers.get_with_document(tx, EVENT_API, request.application_id, request.event_api_id)
    return GetEventApiResponse(event_api=_message(row))


def list_event_apis(tx: Transaction, request: ListEventApisRequest) -> ListEventApisResponse:
    """Read a page of Event APIs by Application and name.

    Raises `Refusal` (APPLICATION_NOT_FOUND, PAGE_TOKEN_INVALID).
    """
    page = holdings.page(tx, EVENT_API, request)
    return ListEventApisResponse(event_apis=[_message(row) for row in page.rows], next_page_token=page.next_page_token)


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

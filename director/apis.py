"""APIs: interfaces that Applications offer to call."""

from moorage.director.v1.api_pb2 import (
    Api,
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

from director import holdings, offers
from director.changes import Mutation
from director.kinds import API
from director.offers import Document
from director.search.masks import ReadMask
from director.search.resources import API_SEARCH
from director.store import Transaction
from director.store.registry import Values
from director.targets import forget_target


def create_api(tx: Transaction, mutation: Mutation, request: CreateApiRequest, document: Document) -> CreateApiResponse:
    """Register an API; raises `Refusal` (APPLICATION_NOT_FOUND, BUNDLE_NOT_FOUND, NAME_TAKEN, LIMIT_REACHED)."""
    return CreateApiResponse(api=_message(offers.create(tx, mutation, API, request.api, document)))


def get_api(tx: Transaction, request: GetApiRequest) -> GetApiResponse:
    """Read an API with its document; raises `Refusal` (API_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, Api.DESCRIPTOR)
    row = offers.get_with_document(tx, API, request.application_id, request.api_id)
    return GetApiResponse(api=mask.apply(_message(row)))


def list_apis(tx: Transaction, request: ListApisRequest) -> ListApisResponse:
    """Read a page of APIs.

    Raises `Refusal` (APPLICATION_NOT_FOUND, FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).
    """
    listing = holdings.read_holdings(tx, API, API_SEARCH, request)
    return ListApisResponse(
        apis=listing.messages(_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_api(tx: Transaction, mutation: Mutation, request: UpdateApiRequest, document: Document) -> UpdateApiResponse:
    """Change an API.

    Raises `Refusal` (API_NOT_FOUND, BUNDLE_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN).
    """
    row = offers.update(tx, mutation, API, request.api, request.update_mask, document)
    return UpdateApiResponse(api=_message(row))


def delete_api(tx: Transaction, mutation: Mutation, request: DeleteApiRequest) -> DeleteApiResponse:
    """Remove an API with its credentials; raises `Refusal` (API_NOT_FOUND, ETAG_MISMATCH)."""
    offers.delete(tx, mutation, API, request.application_id, request.api_id, request.etag)
    forget_target(tx, mutation, request.application_id, request.api_id)
    return DeleteApiResponse()


def _message(row: Values) -> Api:
    return Api(
        api_id=row["api_id"],
        target_url=row["target_url"],
        credential_type=row["credential_type"],
        **offers.common_fields(row),
    )

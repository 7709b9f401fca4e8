"""What became of one-time tokens, and ending those that were not used."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.token_pb2 import (
    GetTokenRequest,
    GetTokenResponse,
    ListTokensRequest,
    ListTokensResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
    Token,
    TokenDelivery,
    TokenDeliveryState,
    TokenState,
)
from moorage.errors.v1.errors_pb2 import Reason

from connector.store import Action, Origin, Transaction, record
from connector.store.tokens import StoredToken, page_of_tokens, place_of_token, read_token, revoke_token
from mesh.errors import Refusal
from mesh.paging import read_page


def get_token(tx: Transaction, request: GetTokenRequest, now: datetime) -> GetTokenResponse:
    """Read a token; raises `Refusal` (TOKEN_NOT_FOUND)."""
    return GetTokenResponse(token=_message(*_existing(tx, request.token_id), now))


def list_tokens(tx: Transaction, request: ListTokensRequest, now: datetime) -> ListTokensResponse:
    """Read a page of tokens, those issued last first; raises `Refusal` (PAGE_TOKEN_INVALID)."""
    page = read_page(
        request,
        lambda after, limit: page_of_tokens(tx, request.spiffe_id, request.states, now, after, limit),
        lambda each: place_of_token(each[0]),
        types=(int, str),
    )
    return ListTokensResponse(tokens=[_message(*each, now) for each in page.rows], next_page_token=page.next_page_token)


def end_token(tx: Transaction, request: RevokeTokenRequest, now: datetime, origin: Origin) -> RevokeTokenResponse:
    """Revoke a token that can be used, and leave others as they are.

    Raises `Refusal`: TOKEN_NOT_FOUND, and TOKEN_USED with the serial number of what it earned.
    """
    if revoke_token(tx, request.token_id, now):
        token, serial = _existing(tx, request.token_id)
        record(tx, Action.TOKEN_REVOKED, origin, now, spiffe_id=token.spiffe_id, token_id=token.token_id)
        return RevokeTokenResponse(token=_message(token, serial, now))
    token, serial = _existing(tx, request.token_id)
    if token.state(now) == TokenState.TOKEN_STATE_USED:
        raise Refusal(Reason.REASON_TOKEN_USED, f"token {token.token_id} was used", metadata={"serial_number": serial})
    return RevokeTokenResponse(token=_message(token, serial, now))


def delivery_of(tx: Transaction, token_id: str) -> TokenDelivery:
    """How a token was handed to its Application."""
    return _delivery(_existing(tx, token_id)[0])


def _existing(tx: Transaction, token_id: str) -> tuple[StoredToken, str]:
    found = read_token(tx, token_id)
    if found is None:
        raise Refusal(Reason.REASON_TOKEN_NOT_FOUND, f"there is no token {token_id}", field="token_id")
    return found


def _message(token: StoredToken, serial_number: str, now: datetime) -> Token:
    message = Token(
        token_id=token.token_id,
        spiffe_id=token.spiffe_id,
        state=token.state(now),
        issuer=token.issuer,
        issue_time=_timestamp(token.issue_time),
        expire_time=_timestamp(token.expire_time),
        use_time=_timestamp(token.use_time),
        serial_number=serial_number,
        dns_names=token.dns_names,
        ip_addresses=token.ip_addresses,
    )
    if message.state == TokenState.TOKEN_STATE_REVOKED and token.revoke_time:
        message.revoke_time.FromDatetime(token.revoke_time)
    if token.delivery_state is not None:
        message.delivery.CopyFrom(_delivery(token))
    return message


def _delivery(token: StoredToken) -> TokenDelivery:
    return TokenDelivery(
        state=TokenDeliveryState.ValueType(token.delivery_state or 0),
        attempt_time=_timestamp(token.delivery_time),
        failure=token.delivery_failure,
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp

"""One mutation as a unit of work: done once for each request id (AIP-155), undone where only asked about (AIP-163)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from moorage.director.v1 import director_pb2
from moorage.errors.v1.errors_pb2 import Reason

from director.changes import Mutation
from director.store import Transaction, replies
from director.store.replies import Reply
from director.webhooks import outbox
from mesh.database import RolledBack
from mesh.errors import Refusal

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Unit: TypeAlias = Callable[[Transaction, Mutation, Request], Response]
"""What a mutation does: `unit(tx, mutation, request)`."""


@dataclass(frozen=True)
class Occasion:
    """When a mutation happens, by whom, in which call, and where its ids come from."""

    time: datetime
    """When, in UTC."""

    actor: str
    """SPIFFE ID of the caller."""

    request_id: str
    """The id by which the logs know the call; not the `request_id` of AIP-155."""

    new_id: Callable[[], str]
    """Gives a new UUID for each resource."""


def mutate(tx: Transaction, occasion: Occasion, unit: Unit[Request, Response], request: Request) -> Response:
    """Run `unit` as one mutation and return its response.

    A request with a `request_id` that this caller used before is given the first response again, and raises `Refusal`
    (REQUEST_ID_REUSED) if it is not the same request. With `validate_only`, all that was done is undone.
    """
    mutation = Mutation(tx, occasion.time, occasion.actor, occasion.request_id, occasion.new_id)
    if getattr(request, "validate_only", False):
        raise RolledBack(_done(tx, mutation, unit, request))
    request_id: str = getattr(request, "request_id", "")
    if not request_id:
        return _done(tx, mutation, unit, request)
    method = request.DESCRIPTOR.name.removesuffix("Request")
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    earlier = replies.find(tx, occasion.actor, method, request_id)
    if earlier is not None:
        return cast(Response, _first_response(method, earlier, digest, request_id))
    response = _done(tx, mutation, unit, request)
    reply = Reply(digest, response.SerializeToString())
    replies.store(tx, occasion.actor, method, request_id, reply, mutation.micros)
    return response


def _done(tx: Transaction, mutation: Mutation, unit: Unit[Request, Response], request: Request) -> Response:
    response = unit(tx, mutation, request)
    outbox.write(tx, mutation)
    mutation.finish()
    return response


def _first_response(method: str, earlier: Reply, digest: bytes, request_id: str) -> Message:
    if earlier.request_sha256 != digest:
        message = f"request id {request_id} came with another request before"
        raise Refusal(Reason.REASON_REQUEST_ID_REUSED, message, field="request_id")
    return GetMessageClass(_METHODS[method].output_type).FromString(earlier.response)


_METHODS = director_pb2.DESCRIPTOR.services_by_name["Director"].methods_by_name

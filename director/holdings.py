"""What an Application holds: the rules that APIs, Event APIs, bundles and documents have in common."""

from google.protobuf.message import Message
from moorage.errors.v1.errors_pb2 import Reason

from director import resource
from director.changes import Action, Mutation
from director.kinds import APPLICATION, BUNDLE, ResourceKind
from director.search.fields import Searchable
from director.search.listing import Listing, read_list
from director.store import Transaction
from director.store.registry import APPLICATIONS, Values
from mesh.errors import Refusal


def check_room(tx: Transaction, kind: ResourceKind, application_id: str, most: int) -> None:
    """Raise `Refusal` (APPLICATION_NOT_FOUND, LIMIT_REACHED) where the Application cannot hold one more of `most`."""
    field = f"{kind.field}.application_id"
    if APPLICATIONS.find(tx, application_id) is None:
        raise resource.not_found(APPLICATION, application_id, field)
    if kind.registry.count(tx, application_id) >= most:
        raise Refusal(
            Reason.REASON_LIMIT_REACHED,
            f"the application has {most} {kind.noun}s already",
            field=field,
            metadata={"limit": str(most)},
        )


def check_bundle(tx: Transaction, kind: ResourceKind, application_id: str, bundle_id: str | None) -> None:
    """Raise `Refusal` (BUNDLE_NOT_FOUND) where this bundle is not one of the Application that holds one of the kind."""
    if bundle_id is not None:
        bundle = BUNDLE.registry.find(tx, bundle_id)
        if bundle is None or bundle["application_id"] != application_id:
            raise resource.not_found(BUNDLE, bundle_id, f"{kind.field}.bundle_id")


def get(tx: Transaction, kind: ResourceKind, application_id: str, id: str) -> Values:
    """What an Application holds under an id; raises `Refusal` (the kind's NOT_FOUND)."""
    row = resource.get(tx, kind, id)
    if row["application_id"] != application_id:
        raise resource.not_found(kind, id)
    return row


def read_holdings(tx: Transaction, kind: ResourceKind, searchable: Searchable, request: Message) -> Listing:
    """A page of what one Application holds, or all do.

    Raises `Refusal` (APPLICATION_NOT_FOUND, FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).
    """
    application_id: str = getattr(request, "application_id")  # noqa: B009 - List requests share no type
    if application_id:
        resource.get(tx, APPLICATION, application_id)
    return read_list(tx, kind.registry, searchable, request, {"application_id": application_id})


def configuration_changed(tx: Transaction, mutation: Mutation, application_id: str) -> None:
    """Have what Runtimes know of the Application take the mutation's revision."""
    APPLICATIONS.update(tx, application_id, {"configuration_revision": mutation.revision})


def record(mutation: Mutation, kind: ResourceKind, action: Action, row: Values) -> None:
    """Note a change of what an Application holds."""
    mutation.record(action, kind.kind, row[kind.registry.key], application_id=row["application_id"])

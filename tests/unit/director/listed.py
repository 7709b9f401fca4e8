"""The standard methods of each kind of resource (AIP-131 to 135), by their names, for tests of what all kinds do."""

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from moorage.director.v1 import (
    api_pb2,
    application_pb2,
    bundle_pb2,
    document_pb2,
    event_api_pb2,
    group_pb2,
    label_pb2,
    runtime_pb2,
)

from director import apis, applications, bundles, documents, event_apis, groups, kinds, label_definitions, runtimes
from director.kinds import ResourceKind
from mesh.paging import PageToken
from tests.unit.director.plane import Plane

_OWN_FIELDS: dict[str, dict[str, str]] = {"api": {"target_url": "https://api.test"}}


class Listed:
    """A kind, with the module of its units of work and that of its messages."""

    def __init__(self, kind: ResourceKind, units: ModuleType, contract: ModuleType) -> None:
        self.field = kind.field
        self.many = f"{kind.field}s"
        self.name = kind.registry.name
        self.id = kind.registry.key
        self.is_held = kind.registry.scope is not None
        self.table = kind.registry.table
        self._units = units
        self._contract = contract
        self._title = kind.field.title().replace("_", "")
        self.message: type[Any] = getattr(contract, self._title)

    def create(self, plane: Plane, name: str, holder: str = "", **fields: Any) -> Any:
        """A new one, of the Application `holder` where such a thing needs one."""
        held = {"application_id": holder} if self.is_held else {}
        sent = self.message(**{self.name: name}, **held, **_OWN_FIELDS.get(self.field, {}), **fields)
        unit = getattr(self._units, f"create_{self.field}")
        if self.field in ("api", "event_api"):
            unit = partial(unit, document=None)
        return getattr(plane.change(unit, self._request("Create", **{self.field: sent})), self.field)

    def delete(self, plane: Plane, message: Message) -> None:
        """Remove it."""
        plane.change(getattr(self._units, f"delete_{self.field}"), self._request("Delete", **self._key_of(message)))

    def get(self, plane: Plane, message: Message, *mask: str) -> Any:
        """It, read again: the fields of a read mask."""
        request = self._request("Get", **self._key_of(message), read_mask=FieldMask(paths=mask))
        return getattr(plane.read(getattr(self._units, f"get_{self.field}"), request), self.field)

    def request(self, mask: Sequence[str] = (), **fields: Any) -> Any:
        """A request for a list."""
        return getattr(self._contract, f"List{self._title}sRequest")(read_mask=FieldMask(paths=mask), **fields)

    def token(self, *key: str | int) -> str:
        """A token for the page behind a place, of a list that nothing else is asked of."""
        return PageToken.encode(key, self.request())

    def page(self, plane: Plane, request: Any) -> Any:
        """The response to a request for a list."""
        return plane.read(getattr(self._units, f"list_{self.many}"), request)

    def names(self, response: Any) -> list[str]:
        """The names of the things on a page."""
        return [getattr(each, self.name) for each in getattr(response, self.many)]

    def _key_of(self, message: Any) -> dict[str, str]:
        held = {"application_id": message.application_id} if self.is_held else {}
        return {self.id: getattr(message, self.id), **held}

    def _request(self, verb: str, **fields: Any) -> Any:
        return getattr(self._contract, f"{verb}{self._title}Request")(**fields)


LISTED = {
    each.field: each
    for each in (
        Listed(kinds.APPLICATION, applications, application_pb2),
        Listed(kinds.API, apis, api_pb2),
        Listed(kinds.EVENT_API, event_apis, event_api_pb2),
        Listed(kinds.BUNDLE, bundles, bundle_pb2),
        Listed(kinds.DOCUMENT, documents, document_pb2),
        Listed(kinds.GROUP, groups, group_pb2),
        Listed(kinds.RUNTIME, runtimes, runtime_pb2),
        Listed(kinds.LABEL_DEFINITION, label_definitions, label_pb2),
    )
}
"""Every kind that has a List method with a filter."""

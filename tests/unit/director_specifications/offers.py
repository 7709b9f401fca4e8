"""Offers whose documents are named by a URL, and what becomes of their fetches, without a network."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1 import api_pb2, event_api_pb2
from moorage.director.v1.specification_pb2 import FetchState, Specification, SpecificationFormat

from director import apis, event_apis
from director.changes import Kind
from director.fetch_outcomes import store_outcome
from director.mutate import Occasion
from director.specifications.fetching import FetchOutcome
from director.specifications.inspected import InspectedSpecification
from director.store import fetches, tables
from director.store.fetches import Fetch
from tests.unit.director.plane import Plane, new_id

URL = "https://docs.test/document"
DIRECTOR = "spiffe://plane.test/service/director"
NOW = datetime(2031, 1, 1, tzinfo=UTC)
PENDING = FetchState.FETCH_STATE_PENDING
FETCHED = FetchState.FETCH_STATE_FETCHED
FAILED = FetchState.FETCH_STATE_FAILED


@dataclass(frozen=True)
class Units:
    """What one kind of offer is spoken to by."""

    kind: Kind
    field: str
    noun: str
    messages: Any
    units: Any
    format: SpecificationFormat.ValueType


API_UNITS = Units(Kind.API, "api", "Api", api_pb2, apis, SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI)
EVENT_API_UNITS = Units(
    Kind.EVENT_API,
    "event_api",
    "EventApi",
    event_api_pb2,
    event_apis,
    SpecificationFormat.SPECIFICATION_FORMAT_ASYNCAPI,
)


class Offers:
    """The offers of one kind of an Application."""

    def __init__(self, plane: Plane, units: Units) -> None:
        self.plane = plane
        self.units = units
        self.application_id = plane.application().application_id

    def id(self, offer: Any) -> str:
        id: str = getattr(offer, f"{self.units.field}_id")
        return id

    def document(self, content: str, *problems: str) -> InspectedSpecification:
        return InspectedSpecification.of(self.units.format, content.encode(), problems)

    def create(self, url: str = URL, document: InspectedSpecification | None = None, **options: Any) -> Any:
        """An offer with its document by URL, or sent where there is one."""
        offer = self._message("", "")(application_id=self.application_id, name=new_id(), specification=self.sent(url))
        if self.units.kind is Kind.API:
            offer.target_url = "https://api.test"
        if document is not None:
            offer.specification.CopyFrom(Specification(format=document.format, content=document.text))
        return self._changed("create", offer, document, options)

    def update(self, offer: Any, specification: Specification | None, document: Any = None, **options: Any) -> Any:
        """The offer with this specification in place of its own; None removes it."""
        sent = self._message("", "")(application_id=self.application_id, specification=specification)
        setattr(sent, f"{self.units.field}_id", self.id(offer))
        return self._changed("update", sent, document, {"update_mask": FieldMask(paths=["specification"]), **options})

    def sent(self, url: str = URL) -> Specification:
        return Specification(format=self.units.format, url=url)

    def get(self, offer: Any) -> Any:
        request = self._message("Get", "Request")(**self._ids(offer))
        return getattr(self.plane.read(self._unit("get"), request), self.units.field)

    def listed(self) -> list[Any]:
        request = self._message("List", "sRequest")(application_id=self.application_id)
        response = self.plane.read(getattr(self.units.units, f"list_{self.units.field}s"), request)
        return [*getattr(response, f"{self.units.field}s")]

    def delete(self, offer: Any) -> None:
        self.plane.change(self._unit("delete"), self._message("Delete", "Request")(**self._ids(offer)))

    def fetch(self, offer: Any) -> Fetch:
        """The fetch that the offer waits for."""
        [row] = [row for row in self.rows() if row["offer_id"] == self.id(offer)]
        with self.plane.transaction() as tx:
            found = fetches.find(tx, row["offer_id"], row["fetch_id"])
        assert found is not None
        return found

    def rows(self) -> list[dict[str, Any]]:
        return self.plane.rows(tables.specification_fetches)

    def settle(self, fetch: Fetch, outcome: FetchOutcome) -> bool:
        occasion = Occasion(NOW, DIRECTOR, fetch.fetch_id, new_id)
        with self.plane.transaction() as tx:
            return store_outcome(tx, occasion, fetch, outcome)

    def come(self, offer: Any, content: str, *problems: str) -> None:
        """Have a document come for the offer."""
        fetch = self.fetch(offer)
        document = self.document(content, *problems)
        assert self.settle(fetch, FetchOutcome(FETCHED, fetch.attempts + 1, document=document))

    def _ids(self, offer: Any) -> dict[str, str]:
        return {"application_id": self.application_id, f"{self.units.field}_id": self.id(offer)}

    def _changed(self, verb: str, offer: Any, document: InspectedSpecification | None, options: dict[str, Any]) -> Any:
        request = self._message(verb.title(), "Request")(**{self.units.field: offer}, **options)
        return getattr(self.plane.change(partial(self._unit(verb), document=document), request), self.units.field)

    def _unit(self, verb: str) -> Any:
        return getattr(self.units.units, f"{verb}_{self.units.field}")

    def _message(self, verb: str, suffix: str) -> Any:
        return getattr(self.units.messages, f"{verb}{self.units.noun}{suffix}")

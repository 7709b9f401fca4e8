"""APIs and Event APIs: the rules that both have, each test for either."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1 import api_pb2, event_api_pb2
from moorage.director.v1.configuration_pb2 import (
    ApiConfiguration,
    ApplicationConfiguration,
    BundleConfiguration,
    EventApiConfiguration,
)
from moorage.director.v1.credential_pb2 import CredentialType
from moorage.director.v1.specification_pb2 import SpecificationState
from moorage.director.v1.version_pb2 import ApiVersion

from director import apis, event_apis
from director.bundles import MOST_BUNDLES
from director.changes import Action, Kind
from director.offers import MOST_OFFERS
from director.specifications.inspected import InspectedSpecification
from director.store import tables
from mesh.limits import MAX_TRANSPORT_BYTES
from tests.unit.director.plane import Plane, asyncapi, new_id, openapi, sent
from tests.unit.director.refused import refused


@dataclass(frozen=True)
class Offers:
    """One kind of offer, spoken to in one way."""

    plane: Plane
    field: str
    kind: Kind
    messages: Any
    units: Any
    noun: str
    document: Callable[..., InspectedSpecification]

    def id(self, offer: Any) -> str:
        id: str = getattr(offer, f"{self.field}_id")
        return id

    def create(self, application_id: str, name: str = "", document: InspectedSpecification | None = None) -> Any:
        return getattr(self.plane, self.field)(application_id, name, document)

    def get(self, application_id: str, id: str) -> Any:
        request = self._message("Get", "Request")(**{"application_id": application_id, f"{self.field}_id": id})
        return getattr(self.plane.read(getattr(self.units, f"get_{self.field}"), request), self.field)

    def update(self, offer: Any, document: InspectedSpecification | None = None, mask: tuple[str, ...] = ()) -> Any:
        request = self._message("Update", "Request")(**{self.field: offer, "update_mask": FieldMask(paths=mask)})
        unit = partial(getattr(self.units, f"update_{self.field}"), document=document)
        return getattr(self.plane.change(unit, request), self.field)

    def delete(self, application_id: str, id: str, etag: str = "") -> None:
        ids = {"application_id": application_id, f"{self.field}_id": id, "etag": etag}
        self.plane.change(getattr(self.units, f"delete_{self.field}"), self._message("Delete", "Request")(**ids))

    def list(self, application_id: str = "") -> list[Any]:
        request = self._message("List", "sRequest")(application_id=application_id)
        response = self.plane.read(getattr(self.units, f"list_{self.field}s"), request)
        return list(getattr(response, f"{self.field}s"))

    def message(self, **fields: Any) -> Any:
        return getattr(self.messages, self.noun)(**fields)

    def _message(self, verb: str, suffix: str) -> Any:
        return getattr(self.messages, f"{verb}{self.noun}{suffix}")


@pytest.fixture(params=[Kind.API, Kind.EVENT_API])
def offers(request: pytest.FixtureRequest, plane: Plane) -> Offers:
    if request.param is Kind.API:
        return Offers(plane, "api", Kind.API, api_pb2, apis, "Api", openapi)
    return Offers(plane, "event_api", Kind.EVENT_API, event_api_pb2, event_apis, "EventApi", asyncapi)


def test_get_gives_the_document_and_create_update_and_list_only_tell_about_it(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    document = offers.document("the document", "line 1 is wrong")
    created = offers.create(application.application_id, "orders", document)

    about = created.specification
    assert (about.sha256, about.size_bytes, about.content) == (document.sha256, len("the document"), "")
    assert about.state == SpecificationState.SPECIFICATION_STATE_INVALID
    assert list(about.problems) == ["line 1 is wrong"]
    assert offers.list(application.application_id) == [created]
    read = offers.get(application.application_id, offers.id(created))
    assert read.specification.content == "the document"
    read.specification.content = ""
    assert read == created


def test_an_offer_of_an_application_that_is_not_there_is_refused(offers: Offers) -> None:
    with refused("APPLICATION_NOT_FOUND", f"{offers.field}.application_id"):
        offers.create(new_id())


def test_a_name_is_unique_within_its_application_only(plane: Plane, offers: Offers) -> None:
    one, other = plane.application(), plane.application()
    first = offers.create(one.application_id, "orders")
    offers.create(other.application_id, "orders")
    with refused("NAME_TAKEN", f"{offers.field}.name") as refusal:
        offers.create(one.application_id, "orders")
    assert refusal.metadata == {"id": offers.id(first)}


def test_an_application_can_have_so_many_offers_of_a_kind_and_no_more(
    plane: Plane, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("director.offers.MOST_OFFERS", 2)
    one, other = plane.application(), plane.application()
    first, _ = [offers.create(one.application_id) for _ in range(2)]
    with refused("LIMIT_REACHED", f"{offers.field}.application_id") as refusal:
        offers.create(one.application_id)
    assert refusal.metadata == {"limit": "2"}
    offers.create(other.application_id)
    offers.delete(one.application_id, offers.id(first))
    offers.create(one.application_id)


def test_an_application_as_large_as_one_can_be_goes_into_one_message_of_the_stream() -> None:
    id, name, description = new_id(), "n" * 63, "\N{GRINNING FACE}" * 1000
    version = ApiVersion(
        value="v" * 63,
        deprecated=True,
        deprecation_notice="\N{GRINNING FACE}" * 500,
        removal_time=Timestamp(seconds=253402300799, nanos=999999999),
    )
    about: dict[str, Any] = {
        "name": name,
        "description": description,
        "specification_sha256": "0" * 64,
        "specification_format": 2,
        "version": version,
        "version_group": name,
        "bundle_id": id,
    }
    largest = ApplicationConfiguration(
        application_id=id,
        name=name,
        description=description,
        apis=[ApiConfiguration(api_id=id, target_url="u" * 2048, **about)] * MOST_OFFERS,
        event_apis=[EventApiConfiguration(event_api_id=id, **about)] * MOST_OFFERS,
        provider="\N{GRINNING FACE}" * 1000,
        base_url="u" * 2048,
        bundles=[BundleConfiguration(bundle_id=id, name=name, description=description)] * MOST_BUNDLES,
        credentials_revision=2**63 - 1,
    )
    assert largest.ByteSize() < MAX_TRANSPORT_BYTES - 1024


def test_an_offer_is_not_found_under_another_application(plane: Plane, offers: Offers) -> None:
    one, other = plane.application(), plane.application()
    offer = offers.create(one.application_id)
    reason = f"{offers.kind}_NOT_FOUND"
    with refused(reason):
        offers.get(other.application_id, offers.id(offer))
    with refused(reason):
        offers.delete(other.application_id, offers.id(offer))
    moved = offers.message(**{"application_id": other.application_id, f"{offers.field}_id": offers.id(offer)})
    with refused(reason):
        offers.update(moved)


def test_a_change_moves_what_runtimes_know_and_leaves_the_application_as_it_is(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    offer = offers.create(application.application_id)
    offer.description = "new"
    changed = offers.update(offer)
    row = plane.rows(tables.applications)[0]
    assert changed.revision == plane.revision == row["configuration_revision"]
    assert row["revision"] == application.revision


def test_each_mutation_is_one_change_that_names_the_application(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    before = plane.revision
    offer = offers.create(application.application_id)
    offer.description = "new"
    offers.update(offer)
    offers.delete(application.application_id, offers.id(offer))
    told = plane.changes_since(before)
    assert [change.action for change in told] == [Action.CREATE, Action.UPDATE, Action.DELETE]
    assert [change.revision for change in told] == [before + 1, before + 2, before + 3]
    for change in told:
        assert (change.kind, change.resource_id) == (offers.kind, offers.id(offer))
        assert change.application_id == application.application_id


def test_the_same_document_again_is_no_change(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    document = offers.document("same")
    offer = offers.create(application.application_id, "", document)
    offer.specification.CopyFrom(sent(document))
    updated = offers.update(offer, document)
    assert (updated.revision, updated.specification.sha256) == (offer.revision, document.sha256)
    assert plane.revision == offer.revision


def test_the_same_document_again_is_told_what_is_found_in_it_now(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    offer = offers.create(application.application_id, "", offers.document("same", "it took too long"))
    document = offers.document("same")
    offer.specification.CopyFrom(sent(document))
    updated = offers.update(offer, document)
    assert updated.specification.state == SpecificationState.SPECIFICATION_STATE_VALID
    assert list(updated.specification.problems) == []
    assert offers.list() == [updated]
    assert plane.revision == offer.revision


def test_a_document_is_stored_once_and_goes_with_the_last_offer_that_has_it(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    document = offers.document("shared")
    first = offers.create(application.application_id, "one", document)
    second = offers.create(application.application_id, "two", document)
    assert len(plane.rows(tables.specifications)) == 1
    offers.delete(application.application_id, offers.id(first))
    assert len(plane.rows(tables.specifications)) == 1
    replacement = offers.document("other")
    second.specification.CopyFrom(sent(replacement))
    offers.update(second, replacement)
    assert [row["content"] for row in plane.rows(tables.specifications)] == [b"other"]
    offers.delete(application.application_id, offers.id(second))
    assert plane.rows(tables.specifications) == []


def test_a_mask_that_names_an_absent_document_removes_it(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    offer = offers.create(application.application_id, "", offers.document("gone"))
    offer.ClearField("specification")
    updated = offers.update(offer, mask=("specification",))
    assert not updated.HasField("specification")
    assert plane.rows(tables.specifications) == []
    assert offers.get(application.application_id, offers.id(offer)) == updated


def test_an_empty_mask_leaves_an_absent_document_alone(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    document = offers.document("stays")
    offer = offers.create(application.application_id, "", document)
    offer.ClearField("specification")
    offer.description = "new"
    assert offers.update(offer).specification.sha256 == document.sha256


def test_the_list_of_an_application_that_is_not_there_is_not_found(offers: Offers) -> None:
    with refused("APPLICATION_NOT_FOUND"):
        offers.list(new_id())


def test_the_list_of_all_is_by_application_and_name(plane: Plane, offers: Offers) -> None:
    one, other = plane.application(), plane.application()
    for application, name in ((one, "b"), (other, "a"), (one, "a")):
        offers.create(application.application_id, name)
    places = [(offer.application_id, offer.name) for offer in offers.list()]
    assert places == sorted(places)
    assert len(places) == 3
    assert [offer.name for offer in offers.list(one.application_id)] == ["a", "b"]


def test_a_stale_etag_is_refused(plane: Plane, offers: Offers) -> None:
    application = plane.application()
    offer = offers.create(application.application_id)
    offer.description, offer.etag = "new", '"0"'
    with refused("ETAG_MISMATCH", "etag"):
        offers.update(offer)
    with refused("ETAG_MISMATCH", "etag"):
        offers.delete(application.application_id, offers.id(offer), '"0"')


def test_the_same_bytes_may_be_good_in_one_format_and_bad_in_another(plane: Plane) -> None:
    application = plane.application()
    api = plane.api(application.application_id, document=openapi("{}", "no version"))
    event_api = plane.event_api(application.application_id, document=asyncapi("{}"))
    assert api.specification.state == SpecificationState.SPECIFICATION_STATE_INVALID
    assert event_api.specification.state == SpecificationState.SPECIFICATION_STATE_VALID


def test_the_target_of_an_api_cannot_be_emptied(plane: Plane) -> None:
    application = plane.application()
    api = plane.api(application.application_id)
    api.target_url = ""
    request = api_pb2.UpdateApiRequest(api=api, update_mask=FieldMask(paths=["target_url"]))
    with refused("FIELD_INVALID", "api.target_url"):
        plane.change(partial(apis.update_api, document=None), request)


def test_a_version_is_set_as_a_whole_and_unset_where_it_is_empty(plane: Plane, offers: Offers) -> None:
    offer = offers.create(plane.application().application_id)
    assert not offer.HasField("version")
    removal = Timestamp(seconds=4102444800, nanos=123456000)
    offer.version.CopyFrom(ApiVersion(value="v2", deprecated=True, deprecation_notice="use v3", removal_time=removal))
    offer.version_group = "orders"
    changed = offers.update(offer)
    assert (changed.version, changed.version_group) == (offer.version, "orders")
    assert offers.get(offer.application_id, offers.id(offer)) == changed
    assert offers.list() == [changed]
    changed.version.CopyFrom(ApiVersion(value="v3"))
    replaced = offers.update(changed, mask=("version",))
    assert replaced.version == ApiVersion(value="v3")
    replaced.version.CopyFrom(ApiVersion())
    emptied = offers.update(replaced, mask=("version",))
    assert not emptied.HasField("version")
    assert offers.update(emptied, mask=("version", "version_group")) == emptied


def test_a_version_is_kept_to_the_microsecond(plane: Plane, offers: Offers) -> None:
    offer = offers.create(plane.application().application_id)
    offer.version.removal_time.CopyFrom(Timestamp(seconds=1, nanos=123456789))
    changed = offers.update(offer)
    assert changed.version.removal_time == Timestamp(seconds=1, nanos=123456000)
    assert offers.update(changed, mask=("version",)) == changed


def test_an_offer_is_put_into_a_bundle_and_taken_out_of_it(plane: Plane, offers: Offers) -> None:
    offer = offers.create(plane.application().application_id)
    assert offer.bundle_id == ""
    offer.bundle_id = plane.bundle(offer.application_id).bundle_id
    put = offers.update(offer)
    assert put.bundle_id == offer.bundle_id
    assert offers.get(offer.application_id, offers.id(offer)) == put
    put.bundle_id, put.description = "", "new"
    assert offers.update(put).bundle_id == offer.bundle_id
    put.etag = ""
    assert offers.update(put, mask=("bundle_id",)).bundle_id == ""


def test_the_type_of_the_shared_credential_of_an_api_is_shown_and_no_other(plane: Plane) -> None:
    api = plane.api(plane.application().application_id)
    request = api_pb2.GetApiRequest(application_id=api.application_id, api_id=api.api_id)

    def shown() -> CredentialType.ValueType:
        return plane.read(apis.get_api, request).api.credential_type

    plane.add_credential(api.application_id, api.api_id, plane.runtime().runtime_id)
    assert shown() == CredentialType.CREDENTIAL_TYPE_UNSPECIFIED
    plane.add_credential(api.application_id, api.api_id)
    assert shown() == CredentialType.CREDENTIAL_TYPE_BEARER
    [listed] = plane.read(apis.list_apis, api_pb2.ListApisRequest()).apis
    assert listed == plane.read(apis.get_api, request).api
    api.description = "new"
    unit = partial(apis.update_api, document=None)
    updated = plane.change(unit, api_pb2.UpdateApiRequest(api=api)).api
    assert updated.credential_type == CredentialType.CREDENTIAL_TYPE_BEARER


def test_with_an_api_go_its_credentials_and_the_requests_for_them(plane: Plane) -> None:
    application_id, runtime_id = plane.application().application_id, plane.runtime().runtime_id
    api, other = (plane.api(application_id).api_id for _ in range(2))
    for each in (api, other):
        plane.add_credential(application_id, each)
        plane.add_credential(application_id, each, runtime_id)
        plane.add_access_request(application_id, each, runtime_id)
    plane.change(apis.delete_api, api_pb2.DeleteApiRequest(application_id=application_id, api_id=api))
    for table in (tables.credentials, tables.access_requests):
        assert {row["target_id"] for row in plane.rows(table)} == {other}
    [application], [runtime] = plane.rows(tables.applications), plane.rows(tables.runtimes)
    assert application["credentials_revision"] == runtime["credentials_revision"] == plane.revision

"""Documents by URL: what an offer shows of them, what begins and ends a fetch, and what Runtimes get to know."""

from functools import partial

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, ListApisRequest
from moorage.director.v1.application_pb2 import DeleteApplicationRequest
from moorage.director.v1.specification_pb2 import (
    Specification,
    SpecificationFetch,
    SpecificationFormat,
    SpecificationState,
)

from director import apis, applications
from director.changes import Action
from director.specifications.fetching import FetchOutcome
from director.store import fetches, tables
from director.store.views import read_configurations
from director.times import to_micros
from tests.unit.director.plane import Plane, new_id
from tests.unit.director_specifications.offers import (
    API_UNITS,
    DIRECTOR,
    EVENT_API_UNITS,
    FAILED,
    FETCHED,
    NOW,
    PENDING,
    URL,
    Offers,
)


def test_an_offer_with_a_url_shows_that_its_document_is_fetched_and_has_none_yet(offers: Offers) -> None:
    created = offers.create()
    fetch = SpecificationFetch(state=PENDING)
    assert created.specification == Specification(format=offers.units.format, url=URL, fetch=fetch)
    assert offers.get(created) == created
    assert offers.listed() == [created]


def test_an_offer_whose_document_was_sent_shows_no_fetch(offers: Offers) -> None:
    created = offers.create(document=offers.document("sent"))
    assert not created.specification.HasField("fetch")
    assert created.specification.url == ""
    assert offers.rows() == []


def test_a_document_that_came_is_told_of_and_is_not_in_what_get_gives(offers: Offers) -> None:
    offer = offers.create()
    document = offers.document("the document", "line 1 is wrong")
    offers.come(offer, "the document", "line 1 is wrong")
    about = offers.get(offer).specification
    assert (about.sha256, about.size_bytes, about.content, about.data) == (
        document.sha256,
        len("the document"),
        "",
        b"",
    )
    assert about.state == SpecificationState.SPECIFICATION_STATE_INVALID
    assert [*about.problems] == ["line 1 is wrong"]
    assert (about.url, about.fetch.state, about.fetch.attempts) == (URL, FETCHED, 1)
    assert to_micros(NOW) == about.fetch.attempt_time.ToMicroseconds()
    assert offers.listed()[0].specification == about


def test_a_document_that_came_is_one_change_by_the_director_and_runtimes_get_its_hash(
    plane: Plane, offers: Offers
) -> None:
    offer = offers.create()
    before = plane.revision
    offers.come(offer, "the document")
    [change] = plane.changes_since(before)
    assert (change.revision, change.action, change.kind) == (before + 1, Action.UPDATE, offers.units.kind)
    assert (change.resource_id, change.application_id) == (offers.id(offer), offers.application_id)
    assert plane.rows(tables.changes)[-1]["actor"] == DIRECTOR
    assert offers.get(offer).revision == plane.revision
    assert plane.rows(tables.applications)[0]["configuration_revision"] == plane.revision
    with plane.transaction() as tx:
        [(_, configuration)] = read_configurations(tx, [offers.application_id])
    seen = configuration.apis[0] if configuration.apis else configuration.event_apis[0]
    assert seen.specification_sha256 == offers.document("the document").sha256
    assert seen.specification_format == offers.units.format


def test_the_same_document_again_is_no_change(plane: Plane, offers: Offers) -> None:
    offer = offers.create()
    offers.come(offer, "same", "it takes too long")
    offers.update(offer, offers.sent())
    before = plane.revision
    offers.come(offer, "same")
    assert plane.revision == before
    about = offers.get(offer).specification
    assert (about.fetch.state, about.state) == (FETCHED, SpecificationState.SPECIFICATION_STATE_VALID)


def test_a_failed_attempt_is_shown_and_is_no_change_of_the_registry(plane: Plane, offers: Offers) -> None:
    offer = offers.create()
    before = plane.revision
    assert offers.settle(offers.fetch(offer), FetchOutcome(PENDING, 1, "HTTP 503", wait=2.0))
    fetch = offers.get(offer).specification.fetch
    assert (fetch.state, fetch.failure, fetch.attempts) == (PENDING, "HTTP 503", 1)
    assert fetch.attempt_time.ToMicroseconds() == to_micros(NOW)
    assert offers.settle(offers.fetch(offer), FetchOutcome(FAILED, 2, "HTTP 404"))
    fetch = offers.get(offer).specification.fetch
    assert (fetch.state, fetch.failure, fetch.attempts) == (FAILED, "HTTP 404", 2)
    assert plane.revision == before
    assert offers.get(offer).etag == offer.etag


def test_a_fetch_that_is_given_up_keeps_the_document_that_was_fetched_before(offers: Offers) -> None:
    offer = offers.create()
    offers.come(offer, "before")
    again = offers.update(offer, offers.sent())
    assert (again.specification.fetch.state, again.specification.fetch.attempts) == (PENDING, 0)
    assert again.specification.sha256 == offers.document("before").sha256
    offers.settle(offers.fetch(offer), FetchOutcome(FAILED, 1, "HTTP 404"))
    about = offers.get(offer).specification
    assert (about.fetch.state, about.fetch.failure) == (FAILED, "HTTP 404")
    assert (about.sha256, about.size_bytes) == (offers.document("before").sha256, len("before"))


def test_a_document_that_was_sent_stays_until_the_one_by_url_comes_and_then_goes(plane: Plane, offers: Offers) -> None:
    offer = offers.create(document=offers.document("sent"))
    updated = offers.update(offer, offers.sent())
    assert updated.specification.sha256 == offers.document("sent").sha256
    assert offers.get(offer).specification.content == ""  # exactly one of content and url is set
    offers.come(offer, "fetched")
    assert [row["content"] for row in plane.rows(tables.specifications)] == [b"fetched"]


def test_a_document_of_another_format_goes_when_one_by_url_is_asked_for(plane: Plane) -> None:
    offers = Offers(plane, API_UNITS)
    offer = offers.create(document=offers.document("an OpenAPI document"))
    edmx = Specification(format=SpecificationFormat.SPECIFICATION_FORMAT_ODATA_EDMX, url=URL)
    about = offers.update(offer, edmx).specification
    assert (about.format, about.sha256, about.size_bytes) == (edmx.format, "", 0)
    assert about.state == SpecificationState.SPECIFICATION_STATE_UNSPECIFIED
    assert plane.rows(tables.specifications) == []


def test_the_same_url_again_has_it_fetched_again_and_runtimes_do_not_hear_of_that(plane: Plane, offers: Offers) -> None:
    offer = offers.create()
    offers.come(offer, "the document")
    seen = plane.rows(tables.applications)[0]["configuration_revision"]
    [first] = offers.rows()
    before = plane.revision
    updated = offers.update(offer, offers.sent())
    [second] = offers.rows()
    assert first["fetch_id"] != second["fetch_id"]
    assert updated.revision == plane.revision == before + 1
    assert [change.action for change in plane.changes_since(before)] == [Action.UPDATE]
    assert plane.rows(tables.applications)[0]["configuration_revision"] == seen


def test_what_comes_late_of_an_earlier_fetch_is_dropped(plane: Plane, offers: Offers) -> None:
    offer = offers.create()
    earlier = offers.fetch(offer)
    updated = offers.update(offer, offers.sent("https://docs.test/other"))
    before = plane.revision
    assert not offers.settle(earlier, FetchOutcome(FETCHED, 1, document=offers.document("late")))
    assert not offers.settle(earlier, FetchOutcome(FAILED, 1, "HTTP 404"))
    assert offers.get(offer) == updated
    assert plane.revision == before
    assert plane.rows(tables.specifications) == []


def test_of_two_attempts_at_once_the_second_to_end_counts_for_nothing(offers: Offers) -> None:
    offer = offers.create()
    fetch = offers.fetch(offer)
    assert offers.settle(fetch, FetchOutcome(PENDING, 1, "HTTP 503"))
    assert not offers.settle(fetch, FetchOutcome(PENDING, 1, "it timed out"))
    assert offers.get(offer).specification.fetch.failure == "HTTP 503"


def test_a_document_that_is_sent_ends_the_fetch(plane: Plane, offers: Offers) -> None:
    offer = offers.create()
    offers.come(offer, "the document")
    document = offers.document("the document")
    before = plane.revision
    updated = offers.update(offer, Specification(format=document.format, content=document.text), document)
    assert offers.rows() == []
    assert not updated.specification.HasField("fetch")
    assert updated.specification.url == ""
    assert updated.revision == plane.revision == before + 1  # though it is the same document
    assert offers.get(offer).specification.content == "the document"


def test_a_document_that_is_removed_ends_the_fetch(plane: Plane, offers: Offers) -> None:
    for has_come in (False, True):
        offer = offers.create()
        if has_come:
            offers.come(offer, "the document")
        assert not offers.update(offer, None).HasField("specification")
        assert not offers.get(offer).HasField("specification")
        assert offers.rows() == plane.rows(tables.specifications) == []


def test_an_update_of_other_fields_leaves_the_fetch_alone(offers: Offers) -> None:
    offer = offers.create()
    before = offers.rows()
    updated = offers.update(offer, None, update_mask=FieldMask(paths=["description"]))
    assert updated.specification == offer.specification
    assert offers.rows() == before


def test_the_fetch_goes_with_the_offer_and_what_comes_of_it_with_that(plane: Plane, offers: Offers) -> None:
    offer = offers.create()
    fetch = offers.fetch(offer)
    offers.delete(offer)
    assert offers.rows() == []
    assert not offers.settle(fetch, FetchOutcome(FETCHED, 1, document=offers.document("late")))
    assert plane.rows(tables.specifications) == []


def test_the_fetch_goes_with_the_application(plane: Plane, offers: Offers) -> None:
    offers.create()
    request = DeleteApplicationRequest(application_id=offers.application_id, force=True)
    plane.change(applications.delete_application, request)
    assert offers.rows() == []


def test_what_is_only_validated_is_not_fetched(offers: Offers) -> None:
    assert offers.create(validate_only=True).specification.fetch.state == PENDING
    assert offers.rows() == []
    offer = offers.create(document=offers.document("sent"))
    assert offers.update(offer, offers.sent(), validate_only=True).specification.fetch.state == PENDING
    assert offers.rows() == []


def test_a_request_that_is_repeated_begins_no_second_fetch(plane: Plane) -> None:
    application_id = plane.application().application_id
    openapi = Specification(format=SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, url=URL)
    api = Api(application_id=application_id, name="orders", target_url="https://api.test", specification=openapi)
    request = CreateApiRequest(api=api, request_id=new_id())
    first = plane.change(partial(apis.create_api, document=None), request)
    begun = plane.rows(tables.specification_fetches)
    assert plane.change(partial(apis.create_api, document=None), request) == first
    assert plane.rows(tables.specification_fetches) == begun


def test_an_offer_whose_document_is_not_here_is_found_by_its_format(plane: Plane) -> None:
    offers = Offers(plane, API_UNITS)
    offer = offers.create()
    for format, found in (("OPENAPI", [offer]), ("ODATA_EDMX", [])):
        asked = f"specification.format = SPECIFICATION_FORMAT_{format}"
        request = ListApisRequest(application_id=offers.application_id, filter=asked)
        assert [*plane.read(apis.list_apis, request).apis] == found


def test_of_each_application_the_oldest_fetches_are_the_first_to_wait(plane: Plane) -> None:
    one, other = Offers(plane, API_UNITS), Offers(plane, EVENT_API_UNITS)
    first, second, third = (one.create() for _ in range(3))
    alone = other.create()
    one.come(first, "the document")
    with plane.transaction() as tx:
        assert [(offer, application) for _, offer, application in fetches.waiting(tx, 1)] == [
            (one.id(second), one.application_id),
            (other.id(alone), other.application_id),
        ]
        assert [offer for _, offer, _ in fetches.waiting(tx, 2)] == [one.id(second), one.id(third), other.id(alone)]

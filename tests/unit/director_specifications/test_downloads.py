"""Who is given a document by its hash."""

from moorage.director.v1.group_pb2 import RemoveGroupMembersRequest
from moorage.director.v1.specification_pb2 import DownloadSpecificationRequest

from director.downloads import read_document
from director.group_members import remove_group_members
from tests.unit.director.plane import Plane, asyncapi, new_id, openapi
from tests.unit.director.refused import refused
from tests.unit.director_specifications.offers import API_UNITS, Offers


def download(plane: Plane, application_id: str, sha256: str, runtime_id: str = "") -> bytes:
    request = DownloadSpecificationRequest(application_id=application_id, sha256=sha256, runtime_id=runtime_id)
    with plane.transaction() as tx:
        return read_document(tx, request)


def test_a_document_that_was_sent_or_fetched_is_given_by_its_hash(plane: Plane, offers: Offers) -> None:
    sent, fetched = offers.document("sent"), offers.document("fetched")
    offers.create(document=sent)
    offers.come(offers.create(), "fetched")
    assert download(plane, offers.application_id, sent.sha256) == b"sent"
    assert download(plane, offers.application_id, fetched.sha256) == b"fetched"


def test_the_same_bytes_in_two_formats_are_given_once(plane: Plane) -> None:
    id = plane.application().application_id
    plane.api(id, document=openapi("same"))
    plane.event_api(id, document=asyncapi("same"))
    assert download(plane, id, openapi("same").sha256) == b"same"


def test_a_document_of_another_application_or_of_none_is_not_found(plane: Plane) -> None:
    one, other = (plane.application().application_id for _ in range(2))
    plane.api(one, document=openapi("of one"))
    for sha256 in (openapi("of one").sha256, openapi("of none").sha256):
        with refused("SPECIFICATION_NOT_FOUND", "sha256"):
            download(plane, other, sha256)


def test_a_document_that_another_has_taken_the_place_of_is_not_found(plane: Plane) -> None:
    offers = Offers(plane, API_UNITS)
    offer = offers.create()
    offers.come(offer, "before")
    offers.update(offer, offers.sent())
    assert download(plane, offers.application_id, offers.document("before").sha256) == b"before"
    offers.come(offer, "now")
    with refused("SPECIFICATION_NOT_FOUND", "sha256"):
        download(plane, offers.application_id, offers.document("before").sha256)


def test_a_runtime_is_given_documents_only_while_it_is_served(plane: Plane) -> None:
    id = plane.application().application_id
    sha256 = openapi("document").sha256
    plane.api(id, document=openapi("document"))
    group = plane.group(application_ids=[id])
    runtime_id = plane.runtime(group_ids=[group.group_id]).runtime_id
    assert download(plane, id, sha256, runtime_id) == b"document"
    plane.change(remove_group_members, RemoveGroupMembersRequest(group_id=group.group_id, runtime_ids=[runtime_id]))
    with refused("NOT_SERVED", "runtime_id"):
        download(plane, id, sha256, runtime_id)


def test_a_runtime_that_is_not_served_does_not_learn_which_documents_there_are(plane: Plane) -> None:
    id = plane.application().application_id
    plane.api(id, document=openapi("document"))
    runtime_id = plane.runtime().runtime_id
    for application_id, sha256 in (
        (id, openapi("document").sha256),
        (id, openapi("none").sha256),
        (new_id(), "0" * 64),
    ):
        with refused("NOT_SERVED", "runtime_id"):
            download(plane, application_id, sha256, runtime_id)

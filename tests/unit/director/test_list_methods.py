"""What every List method does with a filter, an order, a mask and a page token, and every Get method with a mask."""

from typing import Any

import pytest
from moorage.director.v1.configuration_pb2 import GetApplicationConfigurationRequest
from moorage.director.v1.director_pb2 import DESCRIPTOR

from director.application_view import get_application_configuration
from mesh.paging import PageToken
from tests.unit.director.listed import LISTED, Listed
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused


@pytest.fixture(params=LISTED)
def kind(request: pytest.FixtureRequest) -> Listed:
    return LISTED[request.param]


@pytest.fixture(params=["application", "runtime"])
def labelled(request: pytest.FixtureRequest) -> Listed:
    return LISTED[request.param]


def holder(plane: Plane, kind: Listed) -> str:
    """The Application that holds the things of a kind, where such things are held."""
    return plane.application().application_id if kind.is_held else ""


def walk(plane: Plane, kind: Listed, total: int, **asked: Any) -> list[str]:
    """The names on all pages; each page must say that there are `total`."""
    request = kind.request(**asked)
    names: list[str] = []
    while True:
        response = kind.page(plane, request)
        assert response.total_size == total
        names += kind.names(response)
        request.page_token = response.next_page_token
        if not request.page_token:
            return names


def test_all_methods_with_a_filter_are_listed_here() -> None:
    [service] = DESCRIPTOR.services_by_name.values()
    filtered = {
        method.name.removeprefix("List") for method in service.methods if "filter" in method.input_type.fields_by_name
    }
    assert filtered == {f"{each.message.DESCRIPTOR.name}s" for each in LISTED.values()}


def test_a_list_is_ordered_by_name_and_says_how_many_there_are(plane: Plane, kind: Listed) -> None:
    within = holder(plane, kind)
    for name in "cab":
        kind.create(plane, name, within)
    assert walk(plane, kind, 3) == ["a", "b", "c"]
    assert walk(plane, kind, 3, page_size=2) == ["a", "b", "c"]


def test_a_filter_an_order_and_pages_work_together(plane: Plane, kind: Listed) -> None:
    within = holder(plane, kind)
    for name, description in (("a", "Red"), ("b", "blue"), ("c", "red one"), ("d", "green"), ("e", "RED")):
        kind.create(plane, name, within, description=description)
    assert walk(plane, kind, 3, filter="description:red", order_by=f"{kind.name} desc", page_size=2) == ["e", "c", "a"]
    assert walk(plane, kind, 1, filter='description = "red one"') == ["c"]
    assert walk(plane, kind, 2, filter="blue OR green", order_by="create_time desc", page_size=1) == ["d", "b"]
    assert walk(plane, kind, 4, filter=f"NOT {kind.name} = b", order_by="update_time", page_size=3) == [*"acde"]
    assert walk(plane, kind, 0, filter="create_time < 2020-01-01T00:00:00Z") == []


def test_labels_are_filtered_by(plane: Plane, labelled: Listed) -> None:
    labelled.create(plane, "a", labels={"tier": "gold", "example.com/zone": "eu"})
    labelled.create(plane, "b", labels={"tier": "silver"})
    labelled.create(plane, "c")
    assert walk(plane, labelled, 1, filter="labels.tier = gold") == ["a"]
    assert walk(plane, labelled, 2, filter="labels.tier != gold", page_size=1) == ["b", "c"]
    assert walk(plane, labelled, 2, filter="labels:tier", order_by="name desc", page_size=1) == ["b", "a"]
    assert walk(plane, labelled, 1, filter='labels."example.com/zone" = eu') == ["a"]


def test_what_an_application_holds_is_counted_and_searched_apart(plane: Plane) -> None:
    for kind in (each for each in LISTED.values() if each.is_held):
        one, other = holder(plane, kind), holder(plane, kind)
        for name in "abc":
            kind.create(plane, name, one, description="x" if name == "b" else "")
        kind.create(plane, "b", other, description="x")
        assert walk(plane, kind, 3, application_id=one, page_size=2) == ["a", "b", "c"]
        assert walk(plane, kind, 1, application_id=one, filter="description = x") == ["b"]
        assert walk(plane, kind, 2, filter="description = x", page_size=1) == ["b", "b"]
        with refused("APPLICATION_NOT_FOUND"):
            kind.page(plane, kind.request(application_id=new_id()))


def test_pages_neither_repeat_nor_miss_what_stays_while_others_come_and_go(plane: Plane, kind: Listed) -> None:
    within = holder(plane, kind)
    made = {name: kind.create(plane, name, within, description="d") for name in "bdfhj"}
    request = kind.request(page_size=2, filter="description = d", order_by=f"{kind.name} desc")
    first = kind.page(plane, request)
    assert kind.names(first) == ["j", "h"]
    for name in "hf":
        kind.delete(plane, made[name])
    for name in "ek":
        kind.create(plane, name, within, description="d")
    request.page_token = first.next_page_token
    second = kind.page(plane, request)
    assert (kind.names(second), second.total_size) == (["e", "d"], 5)
    request.page_token = second.next_page_token
    last = kind.page(plane, request)
    assert (kind.names(last), last.total_size, last.next_page_token) == (["b"], 5, "")


def test_a_mask_leaves_what_it_names(plane: Plane, kind: Listed) -> None:
    made = kind.create(plane, "a", holder(plane, kind), description="d")
    named = kind.message(**{kind.name: "a"}, description="d")
    response = kind.page(plane, kind.request([kind.name, "description"]))
    assert list(getattr(response, kind.many)) == [named]
    assert response.total_size == 1
    assert kind.get(plane, made, kind.name, "description") == named
    for everything in ([], ["*"]):
        [listed] = getattr(kind.page(plane, kind.request(everything)), kind.many)
        assert (listed.etag, listed.create_time) == (made.etag, made.create_time)
        got = kind.get(plane, made, *everything)
        assert (got.etag, got.create_time) == (made.etag, made.create_time)


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        ({"filter": "description = "}, "FILTER_INVALID", "filter"),
        ({"filter": "etag = x"}, "FILTER_INVALID", "filter"),
        ({"filter": "create_time > yesterday"}, "FILTER_INVALID", "filter"),
        ({"order_by": "description"}, "FIELD_INVALID", "order_by"),
        ({"order_by": "create_time down"}, "FIELD_INVALID", "order_by"),
        ({"mask": ["description", "nothing"]}, "FIELD_INVALID", "read_mask"),
        ({"page_token": "made-up"}, "PAGE_TOKEN_INVALID", "page_token"),
    ],
)
def test_what_no_list_can_be_asked_for_is_refused(
    plane: Plane, kind: Listed, asked: dict[str, Any], reason: str, field: str
) -> None:
    with refused(reason, field):
        kind.page(plane, kind.request(**asked))


def test_a_token_around_what_is_no_place_is_refused(plane: Plane, kind: Listed) -> None:
    for key in ((), (1,), ("a", 1), ("a", "b", "c")):
        with refused("PAGE_TOKEN_INVALID", "page_token"):
            kind.page(plane, kind.request(page_token=kind.token(*key)))


def test_a_mask_that_names_what_there_is_not_is_refused_where_one_is_read(plane: Plane, kind: Listed) -> None:
    made = kind.create(plane, "a", holder(plane, kind))
    with refused("FIELD_INVALID", "read_mask"):
        kind.get(plane, made, kind.name, "nothing")


def test_an_applications_view_refuses_a_token_around_what_is_no_place(plane: Plane) -> None:
    request = GetApplicationConfigurationRequest(application_id=plane.application().application_id)
    request.page_token = PageToken.encode(("a", "b"), request)
    with refused("PAGE_TOKEN_INVALID", "page_token"), plane.transaction() as tx:
        get_application_configuration(tx, request, "plane.test")

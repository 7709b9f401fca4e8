"""Searches upon what the Director itself stored: what is joined to a row, and what narrows a list from outside."""

import pytest
from moorage.director.v1.api_pb2 import ListApisRequest
from moorage.director.v1.group_pb2 import ListGroupsRequest

from director.search.listing import read_list
from director.search.resources import API_SEARCH, GROUP_SEARCH
from director.store.registry import APIS, GROUPS
from tests.unit.director.plane import Plane, openapi


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["bad", "bare", "good"]),
        ("specification.state = VALID", ["good"]),
        ("specification.state != VALID", ["bad", "bare"]),
        ("specification.state:*", ["bad", "good"]),
        ("specification.format = OPENAPI", ["bad", "good"]),
        ("NOT specification.format:*", ["bare"]),
        ("version.deprecated = false", ["bad", "bare", "good"]),
        ("NOT bundle_id:*", ["bad", "bare", "good"]),
        ('target_url = "https://*"', ["bad", "bare", "good"]),
    ],
)
def test_apis_are_found_by_what_is_known_of_their_documents(plane: Plane, text: str, names: list[str]) -> None:
    application, other = plane.application(), plane.application()
    plane.api(application.application_id, "good", openapi("{}"))
    plane.api(application.application_id, "bad", openapi("[]", "no document"))
    plane.api(application.application_id, "bare")
    plane.api(other.application_id, "other")
    request = ListApisRequest(filter=text, order_by="name", page_size=1)
    met: list[str] = []
    with plane.transaction() as tx:
        while not met or request.page_token:
            listing = read_list(tx, APIS, API_SEARCH, request, {"application_id": application.application_id})
            assert listing.total_size == len(names)
            met += [row["name"] for row in listing.rows]
            request.page_token = listing.next_page_token
    assert met == names


def test_groups_are_narrowed_to_those_of_an_application_and_a_runtime(plane: Plane) -> None:
    application, runtime = plane.application().application_id, plane.runtime().runtime_id
    plane.group("a", [application])
    plane.group("b", [], [runtime])
    plane.group("c", [application], [runtime])
    plane.group("d")

    def names(application_id: str, runtime_id: str) -> list[str]:
        within = {"application_id": application_id, "runtime_id": runtime_id}
        with plane.transaction() as tx:
            listing = read_list(tx, GROUPS, GROUP_SEARCH, ListGroupsRequest(filter="name != x"), within)
        return [row["name"] for row in listing.rows]

    assert names("", "") == ["a", "b", "c", "d"]
    assert names(application, "") == ["a", "c"]
    assert names("", runtime) == ["b", "c"]
    assert names(application, runtime) == ["c"]

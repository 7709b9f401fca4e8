"""Walks through lists: each thing once, whatever the size of the pages and whatever happens meanwhile."""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moorage.director.v1.api_pb2 import ListApisRequest
from moorage.director.v1.application_pb2 import DeleteApplicationRequest, ListApplicationsRequest
from moorage.director.v1.group_pb2 import ListGroupMembersRequest, ListGroupsRequest
from moorage.director.v1.runtime_pb2 import ListRuntimesRequest

from director.apis import list_apis
from director.applications import delete_application, list_applications
from director.group_members import list_group_members
from director.groups import list_groups
from director.runtimes import list_runtimes
from tests.unit.director.plane import Plane
from tests.unit.director.refused import refused

NAMES = st.sets(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), max_size=12)
SIZES = st.integers(1, 5)
FEW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def walk(page: Callable[[str], tuple[list[str], str]]) -> list[str]:
    """All names that `page(token)` gives, from the first page to the last."""
    names, token = page("")
    while token:
        more, token = page(token)
        names += more
    return names


@FEW
@given(names=NAMES, size=SIZES)
def test_a_walk_meets_each_thing_once_in_order(plane: Plane, names: set[str], size: int) -> None:
    prefix = f"w{plane.revision}"  # the plane is shared by the examples of one test
    application = plane.application(f"{prefix}-a")
    members = [plane.application(f"{prefix}{name}").application_id for name in sorted(names)]
    runtimes = [plane.runtime(f"{prefix}{name}").runtime_id for name in sorted(names)]
    group = plane.group(f"{prefix}-g", members, runtimes)
    for name in names:
        plane.api(application.application_id, name)

    def apis(token: str) -> tuple[list[str], str]:
        request = ListApisRequest(application_id=application.application_id, page_size=size, page_token=token)
        response = plane.read(list_apis, request)
        return [api.name for api in response.apis], response.next_page_token

    def group_members(token: str) -> tuple[list[str], str]:
        request = ListGroupMembersRequest(group_id=group.group_id, page_size=size, page_token=token)
        response = plane.read(list_group_members, request)
        return [member.name for member in response.members], response.next_page_token

    def all_applications(token: str) -> tuple[list[str], str]:
        response = plane.read(list_applications, ListApplicationsRequest(page_size=size, page_token=token))
        return [each.name for each in response.applications], response.next_page_token

    def all_runtimes(token: str) -> tuple[list[str], str]:
        response = plane.read(list_runtimes, ListRuntimesRequest(page_size=size, page_token=token))
        return [each.name for each in response.runtimes], response.next_page_token

    prefixed = [f"{prefix}{name}" for name in sorted(names)]
    assert walk(apis) == sorted(names)
    assert walk(group_members) == prefixed + prefixed
    applications = walk(all_applications)
    assert applications == sorted(set(applications))
    assert set(prefixed) <= set(applications)
    assert walk(all_runtimes) == sorted(set(walk(all_runtimes)))


@FEW
@given(names=NAMES.filter(lambda names: len(names) > 2), size=SIZES, data=st.data())
def test_what_is_created_and_deleted_meanwhile_makes_a_walk_miss_or_repeat_nothing_else(
    plane: Plane, names: set[str], size: int, data: st.DataObject
) -> None:
    prefix = f"w{plane.revision}"
    ids = {f"{prefix}{name}": plane.application(f"{prefix}{name}").application_id for name in names}
    doomed = data.draw(st.sets(st.sampled_from(sorted(ids))))
    newcomers = [f"{prefix}{name}" for name in sorted(data.draw(NAMES) - names)]

    def page(token: str) -> tuple[list[str], str]:
        response = plane.read(list_applications, ListApplicationsRequest(page_size=size, page_token=token))
        if not token:
            for name in doomed:
                plane.change(delete_application, DeleteApplicationRequest(application_id=ids[name]))
            for name in newcomers:
                plane.application(name)
        return [each.name for each in response.applications], response.next_page_token

    met = walk(page)
    assert met == sorted(set(met))
    assert set(ids) - doomed <= set(met)


def test_a_page_that_just_holds_the_rest_is_the_last(plane: Plane) -> None:
    for _ in range(4):
        plane.group()
    request = ListGroupsRequest(page_size=2)
    request.page_token = plane.read(list_groups, request).next_page_token
    assert plane.read(list_groups, request).next_page_token == ""


def test_the_token_of_one_filter_is_refused_under_another(plane: Plane) -> None:
    application, other = plane.application(), plane.application()
    plane.group("a", [application.application_id])
    plane.group("b", [application.application_id])
    request = ListGroupsRequest(page_size=1, application_id=application.application_id)
    request.page_token = plane.read(list_groups, request).next_page_token
    assert request.page_token
    request.application_id = other.application_id
    with refused("PAGE_TOKEN_INVALID", "page_token"):
        plane.read(list_groups, request)

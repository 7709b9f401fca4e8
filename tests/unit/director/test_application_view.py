"""What an Application is shown of the Runtimes that it serves."""

from functools import partial

import pytest
from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
    ServedRuntime,
)
from moorage.director.v1.group_pb2 import RemoveGroupMembersRequest
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from moorage.errors.v1.errors_pb2 import Reason

from director.application_view import get_application_configuration
from director.group_members import remove_group_members
from mesh.errors import Refusal
from tests.unit.director.plane import Plane, new_id


def view(plane: Plane, application_id: str, page_size: int = 0, token: str = "") -> GetApplicationConfigurationResponse:
    unit = partial(get_application_configuration, trust_domain="plane.test")
    request = GetApplicationConfigurationRequest(application_id=application_id, page_size=page_size, page_token=token)
    return plane.read(unit, request)


def test_an_application_sees_the_runtimes_of_its_groups_each_once_by_name(plane: Plane) -> None:
    id = plane.application().application_id
    one, two = (plane.group(application_ids=[id]).group_id for _ in range(2))
    late = plane.runtime("zulu", "https://zulu.test", [one, two]).runtime_id
    early = plane.runtime("alpha", "", [one]).runtime_id
    plane.runtime("of-no-group")
    plane.make_ready(late)
    seen = view(plane, id)
    assert seen.revision == plane.revision
    assert list(seen.runtimes) == [
        ServedRuntime(
            runtime_id=early,
            name="alpha",
            spiffe_id=f"spiffe://plane.test/runtime/{early}",
            state=RuntimeState.RUNTIME_STATE_PENDING,
        ),
        ServedRuntime(
            runtime_id=late,
            name="zulu",
            ready=True,
            event_url="https://zulu.test",
            spiffe_id=f"spiffe://plane.test/runtime/{late}",
            state=RuntimeState.RUNTIME_STATE_READY,
        ),
    ]


def test_a_runtime_that_left_the_group_is_seen_no_longer(plane: Plane) -> None:
    id = plane.application().application_id
    group = plane.group(application_ids=[id]).group_id
    runtime = plane.runtime(group_ids=[group]).runtime_id
    plane.change(remove_group_members, RemoveGroupMembersRequest(group_id=group, runtime_ids=[runtime]))
    assert list(view(plane, id).runtimes) == []


def test_a_view_of_many_runtimes_is_read_in_pages_that_miss_and_repeat_none(plane: Plane) -> None:
    id = plane.application().application_id
    groups = [plane.group(application_ids=[id]).group_id for _ in range(2)]
    names = [plane.runtime(group_ids=groups).name for _ in range(5)]
    token = ""
    pages: list[list[str]] = []
    while not pages or token:
        page = view(plane, id, page_size=2, token=token)
        pages.append([runtime.name for runtime in page.runtimes])
        token = page.next_page_token
    assert pages == [names[:2], names[2:4], names[4:]]
    assert [runtime.name for runtime in view(plane, id).runtimes] == names


def test_an_unknown_application_has_no_view(plane: Plane) -> None:
    with pytest.raises(Refusal) as refused:
        view(plane, new_id())
    assert refused.value.reason == Reason.REASON_APPLICATION_NOT_FOUND

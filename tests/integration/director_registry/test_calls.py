"""The registry over the wire: what is refused with which status, and who may do what."""

import asyncio
import uuid

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, GetApiRequest, ListApisRequest
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    GetApplicationRequest,
    ListApplicationsRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.event_api_pb2 import CreateEventApiRequest, EventApi
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat, SpecificationState

from tests.integration.director_registry.process import DirectorProcess, problem_of

OPENAPI = SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI
ASYNCAPI = SpecificationFormat.SPECIFICATION_FORMAT_ASYNCAPI
ABSENT = str(uuid.UUID(int=1))


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def director(shared_director: DirectorProcess) -> DirectorProcess:
    return shared_director


def create(name: str, request_id: str = "") -> CreateApplicationRequest:
    return CreateApplicationRequest(application=Application(name=name), request_id=request_id)


async def test_the_story_of_an_application_is_told_over_the_wire(director: DirectorProcess) -> None:
    admin = director.stub()
    application, own = await director.application("orders")
    api = Api(application_id=application.application_id, name="v1", target_url="https://orders.test")
    api.specification.format = OPENAPI
    api.specification.content = '{"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {}}'
    created = (await own.CreateApi(CreateApiRequest(api=api), timeout=20)).api
    assert created.specification.state == SpecificationState.SPECIFICATION_STATE_VALID
    event_api = EventApi(application_id=application.application_id, name="events")
    event_api.specification.format = ASYNCAPI
    event_api.specification.content = "asyncapi: 3.0.0\ninfo: {title: t}\n"
    broken = (await own.CreateEventApi(CreateEventApiRequest(event_api=event_api), timeout=20)).event_api
    assert broken.specification.state == SpecificationState.SPECIFICATION_STATE_INVALID
    assert list(broken.specification.problems) == ["/info: 'version' is a required property"]
    read = await admin.GetApi(GetApiRequest(application_id=application.application_id, api_id=created.api_id))
    assert read.api.specification.content == api.specification.content
    runtime = (await admin.CreateRuntime(CreateRuntimeRequest(runtime=Runtime(name="prod")))).runtime
    group = (await admin.CreateGroup(CreateGroupRequest(group=Group(name="all")))).group
    members = AddGroupMembersRequest(
        group_id=group.group_id, application_ids=[application.application_id], runtime_ids=[runtime.runtime_id]
    )
    assert (await admin.AddGroupMembers(members)).group.revision == group.revision + 1


async def test_an_application_speaks_for_itself_only(director: DirectorProcess) -> None:
    mine, own = await director.application("mine")
    other, _ = await director.application("other")
    assert (await own.GetApplication(GetApplicationRequest(application_id=mine.application_id))).application == mine
    api = Api(application_id=other.application_id, name="v1", target_url="https://a.test")
    for call in (
        own.GetApplication(GetApplicationRequest(application_id=other.application_id)),
        own.ListApplications(ListApplicationsRequest()),
        own.ListApis(ListApisRequest()),
        own.ListApis(ListApisRequest(application_id=other.application_id)),
        own.CreateApi(CreateApiRequest(api=api)),
        own.CreateApplication(create("third")),
    ):
        assert (await problem_of(call)).code == grpc.StatusCode.PERMISSION_DENIED


async def test_a_refusal_of_a_thousand_ids_reaches_the_caller_with_its_reason(director: DirectorProcess) -> None:
    group = (await director.stub().CreateGroup(CreateGroupRequest(group=Group(name="many")))).group
    for ids, reason in (
        ([str(uuid.UUID(int=n)) for n in range(1000)], "APPLICATION_NOT_FOUND"),
        ([f"no-id-{n}" for n in range(1000)], "FIELD_INVALID"),
    ):
        request = AddGroupMembersRequest(group_id=group.group_id, application_ids=ids)
        problem = await problem_of(director.stub().AddGroupMembers(request, timeout=10))
        assert problem.reason == reason
        assert problem.violations[0].field == "application_ids[0]"


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (create("x" * 64), ["application.name"]),
        (create("Not A Label"), ["application.name"]),
        (create(""), ["application"]),
        (CreateApplicationRequest(), ["application"]),
        (create("orders", request_id="not-a-uuid"), ["request_id"]),
    ],
)
async def test_bad_fields_are_each_named(
    director: DirectorProcess, request_: CreateApplicationRequest, fields: list[str]
) -> None:
    problem = await problem_of(director.stub().CreateApplication(request_))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert [violation.field for violation in problem.violations] == fields


async def test_each_refusal_has_its_status_its_reason_and_a_remedy(director: DirectorProcess) -> None:
    admin = director.stub()
    application, _ = await director.application("refused")
    id = application.application_id
    stale = Application(application_id=id, description="new", etag='"0"')
    masked = UpdateApplicationRequest(
        application=Application(application_id=id), update_mask=FieldMask(paths=["create_time"])
    )
    group = CreateGroupRequest(group=Group(name="none"), application_ids=[id, ABSENT])
    for call, code, reason, fields in (
        (admin.CreateApplication(create("refused")), "ALREADY_EXISTS", "NAME_TAKEN", ["application.name"]),
        (admin.GetApplication(GetApplicationRequest(application_id=ABSENT)), "NOT_FOUND", "APPLICATION_NOT_FOUND", []),
        (admin.UpdateApplication(UpdateApplicationRequest(application=stale)), "ABORTED", "ETAG_MISMATCH", ["etag"]),
        (admin.UpdateApplication(masked), "INVALID_ARGUMENT", "UPDATE_MASK_INVALID", ["update_mask"]),
        (admin.CreateGroup(group), "NOT_FOUND", "APPLICATION_NOT_FOUND", ["application_ids[1]"]),
        (
            admin.ListApplications(ListApplicationsRequest(page_token="bm9uZQ")),
            "INVALID_ARGUMENT",
            "PAGE_TOKEN_INVALID",
            ["page_token"],
        ),
    ):
        problem = await problem_of(call)
        assert (problem.code.name, problem.reason) == (code, reason)
        assert [violation.field for violation in problem.violations] == fields
        assert problem.remedy


async def test_of_many_who_want_one_name_at_once_one_has_it(director: DirectorProcess) -> None:
    admin = director.stub()
    results = await asyncio.gather(
        *(admin.CreateApplication(create("wanted"), timeout=20) for _ in range(20)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(refused) == 19
    assert {error.code() for error in refused} == {grpc.StatusCode.ALREADY_EXISTS}


async def test_of_many_requests_with_one_id_at_once_one_is_done_and_all_are_given_its_answer(
    director: DirectorProcess,
) -> None:
    admin, request = director.stub(), create("once", str(uuid.uuid4()))
    answers = await asyncio.gather(*(admin.CreateApplication(request, timeout=20) for _ in range(20)))
    assert len({answer.application.application_id for answer in answers}) == 1
    assert len((await admin.ListApplications(ListApplicationsRequest(filter='name = "once"'))).applications) == 1


async def test_of_many_updates_with_one_etag_at_once_one_is_done(director: DirectorProcess) -> None:
    admin = director.stub()
    application, _ = await director.application("updated")
    id, etag = application.application_id, application.etag
    sent = [Application(application_id=id, description=f"{n}", etag=etag) for n in range(20)]
    calls = (admin.UpdateApplication(UpdateApplicationRequest(application=each), timeout=20) for each in sent)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1


async def test_the_largest_document_is_taken_and_a_larger_one_is_not(director: DirectorProcess) -> None:
    application, own = await director.application("largest")
    head = '{"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {}, "x-filler": "'
    for size, taken in ((3145728, True), (3145729, False)):
        content = head + "x" * (size - len(head) - 2) + '"}'
        api = Api(application_id=application.application_id, name="v1", target_url="https://a.test")
        api.specification.CopyFrom(Specification(format=OPENAPI, content=content))
        call = own.CreateApi(CreateApiRequest(api=api), timeout=30)
        if taken:
            created = (await call).api
            assert created.specification.state == SpecificationState.SPECIFICATION_STATE_VALID
            assert created.specification.size_bytes == size
        else:
            problem = await problem_of(call)
            assert [violation.field for violation in problem.violations] == ["api.specification.content"]

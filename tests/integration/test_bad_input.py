"""Bad input to a running plane: a status code, a stable reason, the fields at fault, and nothing lost or half done."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, GetApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    CreateApplicationResponse,
    GetApplicationRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest

from certs.identity import Identity
from cli.demo.party import Party
from mesh.errors import Problem
from mesh.exits import Exit
from mesh.limits import MAX_TRANSPORT_BYTES
from mesh.pipeline import MAX_REQUEST_BYTES
from tests.support.plane import Up
from tests.support.registry import everything, refused

URL = "https://orders.example"
LONGEST_NAME = 63


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("bad-input") / "home") as up:
        yield up


@dataclass(frozen=True)
class Known:
    """What the plane holds."""

    application: Application
    api: Api


@pytest.fixture(scope="module")
def orders(up: Up) -> Known:
    """The Application `orders` with its API of the same name."""

    async def make() -> Known:
        async with up.party() as admin:
            application = (await _create(admin, "orders")).application
            api = Api(application_id=application.application_id, name="orders", target_url=URL)
            return Known(application, (await admin.director.CreateApi(CreateApiRequest(api=api))).api)

    return asyncio.run(make())


@pytest.fixture
async def admin(up: Up, orders: Known) -> AsyncIterator[Party]:
    """The administrator, who must find all as it was before the test, down to the revision."""
    async with up.party() as admin:
        before = await everything(admin)
        yield admin
        assert await everything(admin) == before


@pytest.mark.parametrize("malformed", ["", "orders", "0" * 36, "{8f14e45f-ceea-467f-a9d5-2b1d9f3c8d3a}", "../orders"])
async def test_a_malformed_uuid_is_named_as_the_field_at_fault(malformed: str, admin: Party) -> None:
    problem = await refused(admin.director.GetApplication(GetApplicationRequest(application_id=malformed)))
    _is_invalid(problem, "application_id")


async def test_a_malformed_uuid_in_a_list_is_named_with_its_place(admin: Party, orders: Known) -> None:
    members = [orders.application.application_id, "orders"]
    request = CreateGroupRequest(group=Group(name="shop"), application_ids=members)
    _is_invalid(await refused(admin.director.CreateGroup(request)), "application_ids[1]")


async def test_a_malformed_uuid_is_refused_by_the_provisioner_too(admin: Party) -> None:
    request = CreateRuntimeRequest(name="edge", group_ids=["shop"])
    _is_invalid(await refused(admin.provisioner.CreateRuntime(request)), "group_ids[0]")


async def test_a_name_that_is_one_character_too_long_is_refused(admin: Party) -> None:
    _is_invalid(await refused(_create(admin, "a" * (LONGEST_NAME + 1))), "application.name")


async def test_a_name_that_is_no_dns_label_is_refused(admin: Party) -> None:
    for name in ("Orders", "-orders", "orders-", "or ders", "ördérs", "a\n"):
        _is_invalid(await refused(_create(admin, name)), "application.name")


async def test_an_unknown_enum_value_is_refused(admin: Party, orders: Known) -> None:
    unknown = Specification(content="openapi: 3.1.0")
    unknown.format = SpecificationFormat.ValueType(99)
    api = Api(application_id=orders.application.application_id, name="unknown", target_url=URL, specification=unknown)
    problem = await refused(admin.director.CreateApi(CreateApiRequest(api=api)))
    _is_invalid(problem, "api.specification.format", "api.specification")


async def test_a_message_that_is_missing_is_named(admin: Party) -> None:
    _is_invalid(await refused(admin.director.CreateApplication(CreateApplicationRequest())), "application")


async def test_every_field_that_is_missing_is_named_at_once(admin: Party) -> None:
    problem = await refused(admin.director.CreateApi(CreateApiRequest(api=Api())))
    assert _is_invalid(problem, "api", "api.application_id") >= {
        "name must be set",
        "target_url must be set",
    }


async def test_a_duplicate_name_is_refused_and_says_who_has_it(admin: Party, orders: Known) -> None:
    problem = await refused(_create(admin, orders.application.name))
    assert (problem.code, problem.reason) == (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN")
    assert [each.field for each in problem.violations] == ["application.name"]
    assert problem.metadata["id"] == orders.application.application_id


async def test_a_duplicate_name_among_the_apis_of_one_application_is_refused(admin: Party, orders: Known) -> None:
    api = Api(application_id=orders.application.application_id, name=orders.api.name, target_url=URL)
    problem = await refused(admin.director.CreateApi(CreateApiRequest(api=api)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN")
    assert [each.field for each in problem.violations] == ["api.name"]


async def test_a_stale_etag_changes_nothing(admin: Party, orders: Known) -> None:
    stale = Application(
        application_id=orders.application.application_id, description="by a slow administrator", etag='"0"'
    )
    request = UpdateApplicationRequest(application=stale, update_mask=FieldMask(paths=["description"]))
    problem = await refused(admin.director.UpdateApplication(request))
    assert (problem.code, problem.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_of_two_changes_with_the_same_etag_the_second_is_refused(up: Up) -> None:
    async with up.party() as admin:
        read = (await _create(admin, f"raced-{uuid.uuid4().hex[:8]}")).application

        def change(description: str) -> UpdateApplicationRequest:
            new = Application(application_id=read.application_id, etag=read.etag, description=description)
            return UpdateApplicationRequest(application=new, update_mask=FieldMask(paths=["description"]))

        await admin.director.UpdateApplication(change("first"))
        problem = await refused(admin.director.UpdateApplication(change("second")))
        assert (problem.code, problem.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
        stored = await admin.director.GetApplication(GetApplicationRequest(application_id=read.application_id))
        assert stored.application.description == "first"


async def test_an_update_mask_with_an_unknown_field_is_refused(admin: Party, orders: Known) -> None:
    request = UpdateApiRequest(api=orders.api, update_mask=FieldMask(paths=["description", "owner"]))
    problem = await refused(admin.director.UpdateApi(request))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPDATE_MASK_INVALID")
    assert [each.field for each in problem.violations] == ["update_mask"]


async def test_a_request_that_is_too_large_is_refused_with_the_limit(admin: Party, orders: Known) -> None:
    problem = await refused(admin.director.CreateApi(_large(orders, MAX_REQUEST_BYTES)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert problem.metadata["limit_bytes"] == str(MAX_REQUEST_BYTES)


async def test_a_specification_that_is_too_large_is_named_as_the_field_at_fault(admin: Party, orders: Known) -> None:
    _is_invalid(await refused(admin.director.CreateApi(_large(orders, 3 * 1024 * 1024))), "api.specification.content")


async def test_a_message_beyond_what_the_transport_takes_ends_neither_connection_nor_service(
    up: Up, admin: Party, orders: Known
) -> None:
    identity = Identity(up.home / "identities" / "admin").load()
    credentials = grpc.ssl_channel_credentials(identity.bundle_pem, identity.key_pem, identity.chain_pem)
    async with grpc.aio.secure_channel(up.plane.director, credentials) as channel:
        director = DirectorStub(channel)
        problem = await refused(director.CreateApi(_large(orders, MAX_TRANSPORT_BYTES)))
        assert problem.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        request = GetApiRequest(application_id=orders.api.application_id, api_id=orders.api.api_id)
        assert (await director.GetApi(request)).api == orders.api


async def test_bytes_that_are_no_message_are_refused(up: Up, admin: Party) -> None:
    identity = Identity(up.home / "identities" / "admin").load()
    credentials = grpc.ssl_channel_credentials(identity.bundle_pem, identity.key_pem, identity.chain_pem)
    async with grpc.aio.secure_channel(up.plane.director, credentials) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/moorage.director.v1.Director/CreateApplication"
        )
        problem = await refused(call(b"\xff\xff\xff"))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_MALFORMED")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("application", "create", "a" * 64), Exit.BAD_INPUT, "application.name"),
        (("application", "create", "orders"), Exit.CONFLICT, "NAME_TAKEN"),
        (("application", "create"), Exit.USAGE, "moorage application create --help"),
        (("application", "get", "0" * 36), Exit.NOT_FOUND, "0" * 36),
        (("application", "update", "orders", "--description", "x", "--etag", '"0"'), Exit.CONFLICT, "ETAG_MISMATCH"),
        (("api", "create", "pay", "--application", "orders", "--target-url", "ftp://x"), Exit.BAD_INPUT, "target_url"),
        (("group", "add", "nowhere", "--application", "orders"), Exit.NOT_FOUND, "nowhere"),
        (("runtime", "create", "Edge"), Exit.BAD_INPUT, "name"),
    ],
)
async def test_the_command_says_in_one_line_what_is_wrong(
    arguments: tuple[str, ...], code: Exit, says: str, up: Up, admin: Party
) -> None:
    done = up.moorage(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("moorage: ")
    assert says in line


async def _create(admin: Party, name: str) -> CreateApplicationResponse:
    return await admin.director.CreateApplication(CreateApplicationRequest(application=Application(name=name)))


def _large(orders: Known, size: int) -> CreateApiRequest:
    """A request with a specification that is larger than `size` bytes."""
    specification = Specification(format=SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, content="#" * (size + 1))
    return CreateApiRequest(
        api=Api(
            application_id=orders.application.application_id,
            name="large",
            target_url=URL,
            specification=specification,
        )
    )


def _is_invalid(problem: Problem, *fields: str) -> set[str]:
    """Check that the fields, and no others, are said to be at fault; what is said of them."""
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert {each.field for each in problem.violations} == set(fields), problem.violations
    assert problem.remedy
    return {each.description for each in problem.violations}

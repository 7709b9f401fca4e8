"""A command's calls: where to and as whom, tried again while nobody answers, refused in one line."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from cli.connection import ADDRESSES_FILE, Target
from cli.plane.home import Home
from cli.plane.plane_file import Plane
from mesh.errors import Refusal, Violation
from mesh.exits import Exit, Stopped
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

UUID = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"
NOBODY: dict[str, str | None] = {"director": None, "connector": None, "provisioner": None}


def shop(_: object = None) -> GetApplicationResponse:
    return GetApplicationResponse(application=Application(application_id=UUID, name="shop"))


def refusing(reason: Reason.ValueType, message: str, **more: object) -> Callable[[object], GetApplicationResponse]:
    def answer(_: object) -> GetApplicationResponse:
        raise Refusal(reason, message, **more)  # type: ignore[arg-type]  # what a Refusal takes

    return answer


@pytest.fixture
def home(tmp_path: Path) -> Home:
    Plane("d:1", "c:2", "e:3", "p:4", "moorage.test", "00", {}).write(tmp_path / "plane.json")
    return Home(tmp_path)


def test_the_addresses_are_those_of_the_plane_in_the_home(home: Home) -> None:
    target = Target(home, None, NOBODY, 1)
    assert [target.address(each) for each in NOBODY] == ["d:1", "c:2", "p:4"]
    assert target.identity_folder == home.identity("admin")


def test_the_addresses_beside_a_chosen_identity_come_before_the_home(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "paired"
    folder.mkdir()
    (folder / ADDRESSES_FILE).write_text(json.dumps({"director": "there:1"}))
    target = Target(home, folder, NOBODY, 1)
    assert target.address("director") == "there:1"
    assert target.address("connector") == "c:2"


def test_an_address_on_the_command_line_comes_before_all(home: Home) -> None:
    assert Target(home, None, {**NOBODY, "director": "here:9"}, 1).address("director") == "here:9"


def test_addresses_that_make_no_sense_are_bad_input(home: Home, tmp_path: Path) -> None:
    (tmp_path / ADDRESSES_FILE).write_text("[]")
    with pytest.raises(Stopped, match="pair again") as refused:
        Target(home, tmp_path, NOBODY, 1).address("director")
    assert refused.value.code is Exit.BAD_INPUT


def test_an_address_that_is_none_is_bad_input_with_what_is_wrong(home: Home, tmp_path: Path) -> None:
    (tmp_path / ADDRESSES_FILE).write_text(json.dumps({"director": "a:1,b:1"}))
    with pytest.raises(Stopped, match="the Director cannot be reached: 'a:1' of 'a:1,b:1' is no IP:port") as refused:
        Target(home, tmp_path, NOBODY, 1).address("director")
    assert refused.value.code is Exit.BAD_INPUT


def test_a_home_without_a_plane_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="moorage up") as refused:
        Target(Home(tmp_path), None, NOBODY, 1).address("director")
    assert refused.value.code is Exit.UNAVAILABLE


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.REASON_APPLICATION_NOT_FOUND, Exit.NOT_FOUND),
        (Reason.REASON_ACCESS_DENIED, Exit.REFUSED),
        (Reason.REASON_CERTIFICATE_EXPIRED, Exit.REFUSED),
        (Reason.REASON_ETAG_MISMATCH, Exit.CONFLICT),
        (Reason.REASON_MESSAGE_TOO_LARGE, Exit.BAD_INPUT),
        (Reason.REASON_INTERNAL, Exit.UNEXPECTED),
    ],
)
def test_a_refusal_is_one_line_and_its_exit_code(
    plane: ScriptedPlane, run: Run, reason: Reason.ValueType, code: Exit
) -> None:
    plane.answers["GetApplication"] = refusing(reason, "it is so")
    ended = run("application", "get", UUID)
    assert ended.returncode == code
    assert ended.stdout == ""
    said = ended.stderr.splitlines()[0]
    assert said.startswith("moorage: it is so")
    assert Reason.Name(reason).removeprefix("REASON_") in said


def test_bad_input_names_the_field_and_the_rule(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["CreateApplication"] = refusing(
        Reason.REASON_FIELD_INVALID, "a field is invalid", violations=[Violation("application.name", "too long")]
    )
    ended = run("application", "create", "a" * 64)
    assert ended.returncode == Exit.BAD_INPUT
    assert "application.name: too long" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_call_is_tried_again_while_the_service_is_away_and_says_so_once(plane: ScriptedPlane, run: Run) -> None:
    away = iter([True, True, False])

    def answer(_: object) -> CreateApplicationResponse:
        if next(away):
            raise Refusal(Reason.REASON_NOT_READY, "not yet", retry_after=timedelta(milliseconds=1))
        return CreateApplicationResponse(application=Application(name="shop"))

    plane.answers["CreateApplication"] = answer
    ended = run("application", "create", "shop")
    assert ended.returncode == Exit.OK
    assert ended.stderr == "moorage: the Director at plane:1 does not answer; trying again for 10 s\n"
    ids = {request.request_id for request in plane.asked("CreateApplication")}
    assert len(plane.asked("CreateApplication")) == 3
    assert len(ids) == 1


def test_two_creations_are_two_requests(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["CreateApplication"] = lambda _: CreateApplicationResponse()
    run("application", "create", "shop")
    run("application", "create", "shop")
    first, second = plane.asked("CreateApplication")
    assert first.request_id != second.request_id


def test_a_chosen_request_id_is_sent(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["CreateApplication"] = lambda _: CreateApplicationResponse()
    run("application", "create", "shop", "--request-id", UUID)
    assert plane.asked("CreateApplication")[0].request_id == UUID


def test_a_service_that_stays_away_ends_the_tries_at_the_deadline(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["GetApplication"] = refusing(
        Reason.REASON_DATABASE_UNAVAILABLE, "the disk is away", retry_after=timedelta(milliseconds=200)
    )
    ended = run("application", "get", UUID, "--timeout", "2s")
    assert ended.returncode == Exit.UNAVAILABLE
    assert "DATABASE_UNAVAILABLE" in ended.stderr
    assert 1 < len(plane.asked("GetApplication")) <= 10


def test_a_service_that_falls_silent_at_the_end_is_told_by_what_it_said_last(plane: ScriptedPlane, run: Run) -> None:
    def away_then_silent(_: object) -> GetApplicationResponse:
        del plane.answers["GetApplication"]
        raise Refusal(Reason.REASON_NOT_READY, "not yet", retry_after=timedelta(milliseconds=1))

    plane.answers["GetApplication"] = away_then_silent
    ended = run("application", "get", UUID, "--timeout", "500ms")
    assert ended.returncode == Exit.UNAVAILABLE
    assert "NOT_READY" in ended.stderr


def test_an_address_where_nobody_listens_is_unavailable(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    (tmp_path / "plane.sock").unlink()
    ended = run("application", "get", UUID, "--timeout", "200ms")
    assert ended.returncode == Exit.UNAVAILABLE
    assert ended.stderr.splitlines()[-1].startswith("moorage: the Director at plane:1 does not answer (")


def test_a_service_that_does_not_answer_ends_the_call_at_its_deadline(run: Run) -> None:
    ended = run("application", "get", UUID, "--timeout", "100ms")
    assert ended.returncode == Exit.DEADLINE
    assert ended.stderr == (
        "moorage: the Director at plane:1 did not answer within 0.1 s: try again, or give it longer with --timeout\n"
    )


@pytest.mark.parametrize("timeout", ["0", "-1s", "soon", "1d", "1e3"])
def test_a_timeout_that_is_none_is_a_usage_error(run: Run, timeout: str) -> None:
    assert run("application", "list", "--timeout", timeout).returncode == Exit.USAGE


@pytest.mark.parametrize("address", ["somewhere", "http://host:1", "host:0", ":7443"])
def test_an_address_that_is_none_is_a_usage_error(run: Run, address: str) -> None:
    assert run("application", "list", "--director", address).returncode == Exit.USAGE


def test_a_list_is_all_its_pages(plane: ScriptedPlane, run: Run) -> None:
    def answer(request: ListApplicationsRequest) -> ListApplicationsResponse:
        names, after = {"": (["a", "b"], "2"), "2": (["c"], "")}[request.page_token]
        return ListApplicationsResponse(applications=[Application(name=name) for name in names], next_page_token=after)

    plane.answers["ListApplications"] = answer
    ended = run("application", "list", "-o", "json")
    assert [each["name"] for each in json.loads(ended.stdout)["applications"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("named", "filter"),
    [("shop", 'name = "shop"'), ('a"b', 'name = "a\\"b"'), ("a*", 'name = "a\\*"'), ("a\\", 'name = "a\\\\"')],
)
def test_a_name_is_looked_for_by_a_filter_that_means_just_it(
    plane: ScriptedPlane, run: Run, named: str, filter: str
) -> None:
    found = ListApplicationsResponse(applications=[Application(name=named, application_id=UUID)])
    plane.answers["ListApplications"] = lambda _: found
    plane.answers["GetApplication"] = shop
    assert run("application", "get", named).returncode == Exit.OK
    assert [request.filter for request in plane.asked("ListApplications")] == [filter]
    assert plane.asked("GetApplication") == [GetApplicationRequest(application_id=UUID)]


def test_an_id_is_not_looked_for(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["GetApplication"] = shop
    assert run("application", "get", UUID.upper()).returncode == Exit.OK
    assert plane.asked("ListApplications") == []
    assert plane.asked("GetApplication")[0].application_id == UUID


@pytest.mark.parametrize("noun", ["application", "group", "runtime"])
def test_a_name_that_nothing_has_is_not_found(plane: ScriptedPlane, run: Run, noun: str) -> None:
    from moorage.director.v1.group_pb2 import ListGroupsResponse
    from moorage.director.v1.runtime_pb2 import ListRuntimesResponse

    plane.answers["ListApplications"] = lambda _: ListApplicationsResponse()
    plane.answers["ListGroups"] = lambda _: ListGroupsResponse()
    plane.answers["ListRuntimes"] = lambda _: ListRuntimesResponse()
    ended = run(noun, "get", "ghost")
    assert ended.returncode == Exit.NOT_FOUND
    assert ended.stderr == f"moorage: no {noun} is named 'ghost': `moorage {noun} list` shows what there is\n"

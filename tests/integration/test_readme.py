"""What README.md tells a reader to type works as it stands, but for the ports; and who may not call is turned away."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from moorage.connector.v1 import connector_pb2
from moorage.director.v1 import director_pb2
from moorage.director.v1.api_pb2 import CreateApiResponse
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    CreateApplicationResponse,
    GetApplicationResponse,
    ListApplicationsResponse,
)
from moorage.director.v1.configuration_pb2 import ConfigurationKind, WatchConfigurationResponse
from moorage.provisioner.v1 import provisioner_pb2

from cli.plane.plane_file import Plane
from mesh.channel import open_pinned_channel
from mesh.errors import Problem
from mesh.exits import Exit
from tests.support.plane import Up
from tests.support.transcript import Answered, console_lines, run_all, shell_blocks

MessageT = TypeVar("MessageT", bound=Message)

README = Path(__file__).parents[2] / "README.md"

HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
OPERATIONS = "google.longrunning.Operations"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("readme") / "home") as up:
        yield up


@pytest.fixture(scope="module")
def by_hand(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Answered]:
    """The grpcurl section: each command and what it printed."""
    folder = tmp_path_factory.mktemp("by-hand")
    commands = [_at_the_real_ports(command, up.plane) for command in shell_blocks(README)]
    return run_all(commands, environ=_environ(up, folder), folder=folder)


def test_each_listener_lists_one_service_of_ours_and_only_standard_ones_beside_it(
    up: Up, by_hand: Sequence[Answered]
) -> None:
    plane = up.plane
    listed = {
        address: set(_output(by_hand, f"as_admin {address} list").split())
        for address in (plane.director, plane.connector, plane.provisioner)
    }
    assert listed == {
        plane.director: {"moorage.director.v1.Director", HEALTH, REFLECTION},
        plane.connector: {"moorage.connector.v1.Connector", HEALTH, REFLECTION},
        plane.provisioner: {"moorage.provisioner.v1.Provisioner", OPERATIONS, HEALTH, REFLECTION},
    }


def test_a_message_is_described_with_its_fields(by_hand: Sequence[Answered]) -> None:
    described = _output(by_hand, "describe moorage.director.v1.CreateApplicationRequest")
    assert "moorage.director.v1.CreateApplicationRequest is a message" in described
    assert ".moorage.director.v1.Application application = 1" in described


def test_what_is_created_by_hand_is_got_and_listed(by_hand: Sequence[Answered]) -> None:
    created = _read(CreateApplicationResponse(), by_hand).application
    assert created.name == "payments"
    assert _read(GetApplicationResponse(), by_hand).application == created
    assert created in _read(ListApplicationsResponse(), by_hand).applications
    api = _read(CreateApiResponse(), by_hand).api
    assert (api.application_id, api.name) == (created.application_id, "cards")


def test_a_watch_by_hand_shows_the_snapshot_with_the_application(by_hand: Sequence[Answered]) -> None:
    created = _read(CreateApplicationResponse(), by_hand).application
    snapshot = _read(WatchConfigurationResponse(), by_hand)
    assert snapshot.kind == ConfigurationKind.CONFIGURATION_KIND_SNAPSHOT
    assert [each.application_id for each in snapshot.applications] == [created.application_id]
    assert [api.name for each in snapshot.applications for api in each.apis] == ["cards"]


def test_a_runtime_is_created_and_deleted_by_hand(by_hand: Sequence[Answered]) -> None:
    assert '"name": "operations/' in _output(by_hand, "Provisioner/CreateRuntime")
    done = _output(by_hand, "Operations/WaitOperation")
    assert '"done": true' in done
    assert "RUNTIME_STATE_RUNNING" in done
    assert "OPERATION_KIND_DELETE" in _output(by_hand, "Provisioner/DeleteRuntime")


def test_by_hand_and_without_a_certificate_only_enrolment_answers(up: Up, by_hand: Sequence[Answered]) -> None:
    assert "Failed to" in _output(by_hand, f"grpcurl -cacert ca.crt {up.plane.director} list")
    refused = _output(by_hand, "Connector/Enroll")
    assert "Code: InvalidArgument" in refused
    assert _reason(refused) == "TOKEN_MALFORMED"


async def test_without_a_certificate_no_method_answers_but_those_for_newcomers_and_outsiders(up: Up) -> None:
    plane = up.plane
    roots = (up.home / "identities" / "admin" / "ca.crt").read_bytes()
    answered = []
    for address in (plane.director, plane.connector, plane.enrolment, plane.provisioner):
        async with open_pinned_channel(address, roots) as channel:
            answered += [(address, path) for path in _METHODS if await _answers(channel, path)]
    for_anyone = ("Enroll", "Recover", "GetRevocationList")
    assert answered == [(plane.enrolment, f"/moorage.connector.v1.Connector/{name}") for name in for_anyone]


async def test_with_an_application_s_certificate_the_data_of_another_one_is_denied(up: Up, tmp_path: Path) -> None:
    async with up.party() as admin:
        mine, other = [
            (await admin.director.CreateApplication(CreateApplicationRequest(application=Application(name=name))))
            for name in ("mine", "other")
        ]
    issued = up.moorage("token", "issue", "--application", "mine")
    paired = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=issued.stdout)
    assert paired.returncode == Exit.OK, paired.stderr

    def get(application_id: str) -> "subprocess.CompletedProcess[str]":
        request = json.dumps({"application_id": application_id})
        return _grpcurl(
            tmp_path / "identity", "-d", request, up.plane.director, "moorage.director.v1.Director/GetApplication"
        )

    own = get(mine.application.application_id)
    assert own.returncode == 0, own.stderr
    assert json.loads(own.stdout)["application"]["name"] == "mine"
    denied = get(other.application.application_id)
    assert denied.returncode != 0
    assert "Code: PermissionDenied" in denied.stderr
    assert _reason(denied.stderr) == "ACCESS_DENIED"
    assert '"name"' not in denied.stdout


def test_the_lines_with_the_command_put_an_application_in_the_plane_and_a_runtime_beside_it(
    up: Up, tmp_path: Path
) -> None:
    answers = run_all(console_lines(README, "moorage"), environ=_environ(up, tmp_path), folder=tmp_path)
    assert len(answers) == 5, "the README says that it takes five lines"
    assert {file.name for file in (tmp_path / "identity").iterdir()} >= {"tls.crt", "tls.key", "ca.crt"}
    shown = up.moorage("runtime", "get", "edge-1", "-o", "json")
    assert json.loads(shown.stdout)["state"] == "RUNTIME_STATE_READY", shown.stderr


_METHODS = [
    f"/{service.full_name}/{method.name}"
    for descriptor in (
        director_pb2.DESCRIPTOR,
        connector_pb2.DESCRIPTOR,
        provisioner_pb2.DESCRIPTOR,
        health_pb2.DESCRIPTOR,
        reflection_pb2.DESCRIPTOR,
        operations_pb2.DESCRIPTOR,
    )
    for service in descriptor.services_by_name.values()
    for method in service.methods
]


async def _answers(channel: grpc.aio.Channel, path: str) -> bool:
    """Whether a call without content gets further than to the question of who calls."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    try:
        await call(b"", timeout=5)
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        turned_away = problem.code is grpc.StatusCode.UNAVAILABLE and not problem.reason
        return not (turned_away or problem.reason in {"CERTIFICATE_REQUIRED", "ACCESS_DENIED"})
    return True


def _reason(refused: str) -> str:
    """The reason in the error that grpcurl printed: as JSON, or as bytes where it had no descriptor to read them by."""
    details = map(json.loads, re.findall(r"\d+\)\t(\{.*\})", refused))
    (info,) = [each for each in details if each["@type"].endswith("/google.rpc.ErrorInfo")]
    if "@value" in info:
        return ErrorInfo.FromString(base64.b64decode(info["@value"])).reason
    return str(info["reason"])


def _grpcurl(identity: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    certificate = ("-cacert", "ca.crt", "-cert", "tls.crt", "-key", "tls.key")
    program = Path(sys.executable).with_name("grpcurl")
    return subprocess.run([program, *certificate, *arguments], cwd=identity, capture_output=True, text=True, timeout=30)


def _at_the_real_ports(command: str, plane: Plane) -> str:
    services = (plane.director, plane.connector, plane.enrolment, plane.provisioner)
    for port, address in zip(range(7443, 7447), services, strict=True):
        command = command.replace(f"127.0.0.1:{port}", address)
    return command


def _environ(up: Up, folder: Path) -> dict[str, str]:
    return {**os.environ, "MOORAGE_HOME": str(up.home), "TMPDIR": str(folder)}


def _read(message: MessageT, answers: Sequence[Answered]) -> MessageT:
    """The first message that the Director's method with that response gave, in whichever case its fields are."""
    method = type(message).__name__.removesuffix("Response")
    printed, _ = json.JSONDecoder().raw_decode(_output(answers, f"Director/{method}"))
    return json_format.ParseDict(printed, message)


def _output(answers: Sequence[Answered], part: str) -> str:
    """What the one command printed that has `part` in it."""
    (only,) = [each.output for each in answers if part in each.command]
    return only

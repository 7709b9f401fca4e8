"""Specifications: what a file or URL is written in, versions of what they describe, and the document read again."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1 import api_pb2, bundle_pb2, event_api_pb2, specification_pb2
from moorage.director.v1.director_pb2 import DESCRIPTOR
from moorage.director.v1.specification_pb2 import (
    FETCH_STATE_FAILED,
    FETCH_STATE_PENDING,
    SPECIFICATION_FORMAT_ASYNCAPI,
    SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET,
    SPECIFICATION_FORMAT_ODATA_EDMX,
    SPECIFICATION_FORMAT_OPENAPI,
    DownloadSpecificationRequest,
    DownloadSpecificationResponse,
    Specification,
    SpecificationFetch,
)
from moorage.director.v1.version_pb2 import ApiVersion
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal
from mesh.exits import Exit
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APP = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"
API = "1c9fbd5e-3f0c-4a57-8d43-5a1f2f6ad222"
CREATE = ("api", "create", "orders", "--application", APP, "--target-url", "https://shop.example")
DOCUMENT = b'{"openapi": "3.0.3"}\x1b[2J\n'


def descriptor_set() -> bytes:
    files = FileDescriptorSet()
    DESCRIPTOR.CopyToProto(files.file.add())
    return files.SerializeToString()


@pytest.fixture(autouse=True)
def created(plane: ScriptedPlane) -> None:
    plane.answers["CreateApi"] = lambda _: api_pb2.CreateApiResponse()
    plane.answers["UpdateApi"] = lambda _: api_pb2.UpdateApiResponse()
    plane.answers["CreateEventApi"] = lambda _: event_api_pb2.CreateEventApiResponse()


def sent(plane: ScriptedPlane) -> Specification:
    specification: Specification = plane.asked("CreateApi")[0].api.specification
    return specification


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ('{"openapi": "3.0.3"}', SPECIFICATION_FORMAT_OPENAPI),
        ("\nswagger: '2.0'\n", SPECIFICATION_FORMAT_OPENAPI),
        ('\ufeff <?xml version="1.0"?><edmx:Edmx/>', SPECIFICATION_FORMAT_ODATA_EDMX),
    ],
)
def test_a_text_is_sent_in_the_format_that_it_is_written_in(
    plane: ScriptedPlane, run: Run, content: str, format: specification_pb2.SpecificationFormat.ValueType
) -> None:
    assert run(*CREATE, "--spec", "-", stdin=content.encode()).returncode == Exit.OK
    assert sent(plane) == Specification(format=format, content=content)


def test_a_descriptor_set_is_sent_as_bytes(plane: ScriptedPlane, run: Run) -> None:
    assert run(*CREATE, "--spec", "-", stdin=descriptor_set()).returncode == Exit.OK
    assert sent(plane) == Specification(format=SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET, data=descriptor_set())


def test_a_format_that_is_told_is_not_guessed(plane: ScriptedPlane, run: Run) -> None:
    run(*CREATE, "--spec", "-", "--spec-format", "odata-edmx", stdin=b"openapi: 3.0.0")
    assert sent(plane).format == SPECIFICATION_FORMAT_ODATA_EDMX


@pytest.mark.parametrize(
    ("url", "options", "format"),
    [
        ("https://a.example/openapi.yaml?v=1", [], SPECIFICATION_FORMAT_OPENAPI),
        ("https://a.example/odata/$metadata", [], SPECIFICATION_FORMAT_ODATA_EDMX),
        ("https://a.example/all.binpb", [], SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET),
        ("https://a.example/spec", ["--spec-format", "openapi"], SPECIFICATION_FORMAT_OPENAPI),
    ],
)
def test_a_url_is_sent_with_the_format_that_its_end_tells(
    plane: ScriptedPlane,
    run: Run,
    url: str,
    options: Sequence[str],
    format: specification_pb2.SpecificationFormat.ValueType,
) -> None:
    assert run(*CREATE, "--spec-url", url, *options).returncode == Exit.OK
    assert sent(plane) == Specification(format=format, url=url)


def test_an_event_apis_document_is_asyncapi_wherever_it_comes_from(plane: ScriptedPlane, run: Run) -> None:
    run("event-api", "create", "parcels", "--application", APP, "--spec-url", "https://a.example/spec")
    assert plane.asked("CreateEventApi")[0].event_api.specification == Specification(
        format=SPECIFICATION_FORMAT_ASYNCAPI, url="https://a.example/spec"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--spec-url", "https://a.example/spec"], "--spec-format"),
        (["--spec-format", "openapi"], "--spec-url"),
        (["--spec", "-", "--spec-url", "https://a.example/a.json"], "one of"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    plane: ScriptedPlane, run: Run, options: Sequence[str], says: str
) -> None:
    ended = run(*CREATE, *options)
    assert ended.returncode == Exit.USAGE
    assert says in ended.stderr
    assert plane.asked("CreateApi") == []


def test_a_document_that_is_yet_to_be_fetched_is_told_of(plane: ScriptedPlane, run: Run) -> None:
    pending = Specification(url="https://a.example/a.json", fetch=SpecificationFetch(state=FETCH_STATE_PENDING))
    plane.answers["CreateApi"] = lambda _: api_pb2.CreateApiResponse(api=api_pb2.Api(specification=pending))
    ended = run(*CREATE, "--spec-url", "https://a.example/a.json")
    assert ended.returncode == Exit.OK
    assert "fetches the specification" in ended.stderr


def test_a_version_is_created_with_all_that_is_said_of_it(plane: ScriptedPlane, run: Run) -> None:
    bundle = bundle_pb2.Bundle(name="shared", bundle_id=API)
    plane.answers["ListBundles"] = lambda _: bundle_pb2.ListBundlesResponse(bundles=[bundle])
    version = ("--version", "v2", "--deprecated", "--deprecation-notice", "use v3", "--removal-time", "2030-01-31")
    assert run(*CREATE, *version, "--version-group", "orders", "--bundle", "shared").returncode == Exit.OK
    api = plane.asked("CreateApi")[0].api
    removal = Timestamp()
    removal.FromJsonString("2030-01-31T00:00:00Z")
    assert api.version == ApiVersion(value="v2", deprecated=True, deprecation_notice="use v3", removal_time=removal)
    assert (api.version_group, api.bundle_id) == ("orders", API)


@pytest.mark.parametrize("noun", ["api", "event-api"])
def test_what_is_not_said_of_a_version_stays_as_it_was_read(plane: ScriptedPlane, run: Run, noun: str) -> None:
    stored = ApiVersion(value="v1", deprecated=True, deprecation_notice="old", removal_time=Timestamp(seconds=1))
    api = api_pb2.Api(version=stored, etag='"7"')
    event_api = event_api_pb2.EventApi(version=stored, etag='"7"')
    plane.answers["GetApi"] = lambda _: api_pb2.GetApiResponse(api=api)
    plane.answers["GetEventApi"] = lambda _: event_api_pb2.GetEventApiResponse(event_api=event_api)
    plane.answers["UpdateEventApi"] = lambda _: event_api_pb2.UpdateEventApiResponse()
    update = (noun, "update", API, "--application", APP)
    assert run(*update, "--version", "v2").returncode == Exit.OK
    assert run(*update, "--not-deprecated", "--etag", '"6"').returncode == Exit.OK
    method, field = ("UpdateApi", "api") if noun == "api" else ("UpdateEventApi", "event_api")
    first, second = [getattr(request, field) for request in plane.asked(method)]
    expected = ApiVersion()
    expected.CopyFrom(stored)
    expected.value = "v2"
    assert (first.version, first.etag) == (expected, '"7"')
    assert (second.version, second.etag) == (ApiVersion(value="v1"), '"6"')
    assert [list(request.update_mask.paths) for request in plane.asked(method)] == [["version"], ["version"]]


def test_a_time_that_is_none_is_a_usage_error(run: Run) -> None:
    assert run(*CREATE, "--removal-time", "soon").returncode == Exit.USAGE


def described(plane: ScriptedPlane, specification: Specification) -> None:
    api = api_pb2.Api(specification=specification)
    event_api = event_api_pb2.EventApi(specification=specification)
    plane.answers["GetApi"] = lambda _: api_pb2.GetApiResponse(api=api)
    plane.answers["GetEventApi"] = lambda _: event_api_pb2.GetEventApiResponse(event_api=event_api)


def pieces(content: bytes) -> list[DownloadSpecificationResponse]:
    return [DownloadSpecificationResponse(data=content[:5]), DownloadSpecificationResponse(data=content[5:])]


SHA256 = hashlib.sha256(DOCUMENT).hexdigest()


@pytest.mark.parametrize("noun", ["api", "event-api"])
def test_a_specification_is_written_out_byte_for_byte(
    plane: ScriptedPlane, run: Run, tmp_path: Path, noun: str
) -> None:
    described(plane, Specification(sha256=SHA256))
    plane.turns = [pieces(DOCUMENT), pieces(DOCUMENT)]
    assert run(noun, "spec", API, "--application", APP).stdout.encode() == DOCUMENT
    ended = run(noun, "spec", API, "--application", APP, "--out", str(tmp_path / "spec"))
    assert (ended.returncode, ended.stdout) == (Exit.OK, "")
    assert (tmp_path / "spec").read_bytes() == DOCUMENT
    assert plane.asked("DownloadSpecification")[0] == DownloadSpecificationRequest(application_id=APP, sha256=SHA256)


def test_a_document_cannot_steer_a_terminal(plane: ScriptedPlane, run: Run) -> None:
    described(plane, Specification(sha256=SHA256))
    plane.turns = [pieces(DOCUMENT)]
    with mock.patch("cli.specification._is_at_a_terminal", return_value=True):
        ended = run("api", "spec", API, "--application", APP)
    assert ended.stdout == '{"openapi": "3.0.3"}\\x1b[2J\n'


def test_a_binary_document_is_not_thrown_at_a_terminal(plane: ScriptedPlane, run: Run) -> None:
    binary = b"\n\xff\xfe"
    described(plane, Specification(sha256=hashlib.sha256(binary).hexdigest()))
    plane.turns = [pieces(binary)]
    with mock.patch("cli.specification._is_at_a_terminal", return_value=True):
        ended = run("api", "spec", API, "--application", APP)
    assert ended.returncode == Exit.BAD_INPUT
    assert "--out" in ended.stderr


def test_a_download_that_breaks_is_begun_again(plane: ScriptedPlane, run: Run) -> None:
    described(plane, Specification(sha256=SHA256))
    plane.turns = [[pieces(DOCUMENT)[0], Refusal(Reason.REASON_NOT_READY, "stopping")], pieces(DOCUMENT)]
    assert run("api", "spec", API, "--application", APP).stdout.encode() == DOCUMENT


def test_a_document_that_is_not_the_one_is_not_written(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    described(plane, Specification(sha256=SHA256))
    plane.turns = [pieces(b"something else")]
    ended = run("api", "spec", API, "--application", APP, "--out", str(tmp_path / "spec"))
    assert ended.returncode == Exit.UNEXPECTED
    assert not (tmp_path / "spec").exists()


@pytest.mark.parametrize(
    ("specification", "code", "says"),
    [
        (Specification(), Exit.NOT_FOUND, "has no specification"),
        (
            Specification(
                url="https://a.example/a", fetch=SpecificationFetch(state=FETCH_STATE_FAILED, failure="404 it is")
            ),
            Exit.CONFLICT,
            "404 it is",
        ),
    ],
)
def test_a_specification_that_is_not_there_is_said_so(
    plane: ScriptedPlane, run: Run, specification: Specification, code: Exit, says: str
) -> None:
    described(plane, specification)
    ended = run("api", "spec", API, "--application", APP)
    assert ended.returncode == code
    assert says in ended.stderr
    assert plane.asked("DownloadSpecification") == []


def test_a_file_that_cannot_be_written_is_bad_input(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    described(plane, Specification(sha256=SHA256))
    plane.turns = [pieces(DOCUMENT)]
    ended = run("api", "spec", API, "--application", APP, "--out", str(tmp_path / "missing" / "spec"))
    assert ended.returncode == Exit.BAD_INPUT


def test_content_is_json_with_its_bytes_in_base64(plane: ScriptedPlane, run: Run) -> None:
    described(plane, Specification(data=b"\x00\x01"))
    shown = json.loads(run("api", "get", API, "--application", APP, "-o", "json").stdout)
    assert shown["specification"]["data"] == "AAE="

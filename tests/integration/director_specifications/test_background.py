"""Documents by URL with a real Director and a real origin: what becomes of a fetch, and who reads what came."""

import hashlib
import signal
from dataclasses import dataclass

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, GetApiRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.director.v1.specification_pb2 import (
    DownloadSpecificationRequest,
    FetchState,
    Specification,
    SpecificationFetch,
    SpecificationFormat,
    SpecificationState,
)

from tests.integration.director_registry.process import DirectorProcess, problem_of
from tests.integration.director_specifications.origin import Answer, Origin
from tests.support.wait import eventually, wait_for

OPENAPI = SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI
DESCRIPTOR_SET = SpecificationFormat.SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET
PENDING = FetchState.FETCH_STATE_PENDING
FETCHED = FetchState.FETCH_STATE_FETCHED
FAILED = FetchState.FETCH_STATE_FAILED
VALID = SpecificationState.SPECIFICATION_STATE_VALID
DOCUMENT = b'openapi: 3.1.0\ninfo: {title: t, version: "1"}\npaths: {}\n'
PATH = "/api.yaml"


@dataclass(frozen=True)
class Party:
    """An Application, and a stub that speaks as it."""

    application_id: str
    stub: DirectorStub

    @classmethod
    async def of(cls, director: DirectorProcess) -> "Party":
        application, stub = await director.application("orders")
        return cls(application.application_id, stub)

    async def create(self, origin: Origin, format: SpecificationFormat.ValueType = OPENAPI) -> Api:
        specification = Specification(format=format, url=f"http://127.0.0.1:{origin.port}{PATH}")
        api = Api(
            application_id=self.application_id, name="v1", target_url="https://api.test", specification=specification
        )
        return (await self.stub.CreateApi(CreateApiRequest(api=api), timeout=20)).api

    async def read(self, api: Api) -> Specification:
        request = GetApiRequest(application_id=self.application_id, api_id=api.api_id)
        return (await self.stub.GetApi(request, timeout=20)).api.specification

    async def settled(self, api: Api) -> Specification:
        """What the API's document is once it is no longer being fetched."""

        async def look() -> Specification | None:
            found = await self.read(api)
            return found if found.fetch.state != PENDING else None

        return await eventually("the end of the fetch", look, within=60)


@pytest.fixture
async def director(stopped_director: DirectorProcess, monkeypatch: pytest.MonkeyPatch) -> DirectorProcess:
    """One that may fetch from this machine, and does not wait for long between attempts."""
    monkeypatch.setenv("MOORAGE_DIRECTOR_FETCH_ALLOWED_NETWORKS", "127.0.0.1/32")
    stopped_director.settings["fetch_first_wait"] = "0.01"
    await stopped_director.start()
    return stopped_director


async def test_a_document_is_fetched_after_the_call_and_then_runtimes_have_its_hash(
    director: DirectorProcess, origin: Origin
) -> None:
    origin.answers[PATH] = Answer(DOCUMENT, held=True)
    party = await Party.of(director)
    api = await party.create(origin)
    assert (api.specification.fetch.state, api.specification.sha256) == (PENDING, "")
    runtime_id = await served(director, party)
    watching = director.stub(director.mint.identity("runtime", runtime_id)).WatchConfiguration(
        WatchConfigurationRequest(runtime_id=runtime_id), timeout=60
    )
    seen = (await anext(aiter(watching))).applications[0].apis[0]
    assert (seen.specification_format, seen.specification_sha256) == (OPENAPI, "")

    origin.ended.set()
    sha256 = hashlib.sha256(DOCUMENT).hexdigest()
    async for message in watching:
        if message.applications and message.applications[0].apis[0].specification_sha256:
            assert message.applications[0].apis[0].specification_sha256 == sha256
            break
    watching.cancel()
    found = await party.read(api)
    assert (found.fetch.state, found.fetch.attempts, found.sha256) == (FETCHED, 1, sha256)
    assert (found.state, found.size_bytes, found.content) == (VALID, len(DOCUMENT), "")
    assert await download(party.stub, party.application_id, sha256) == DOCUMENT


async def test_a_document_that_is_not_there_five_times_is_given_up_and_the_offer_stays(
    director: DirectorProcess, origin: Origin
) -> None:
    party = await Party.of(director)
    api = await party.create(origin)
    found = await party.settled(api)
    assert found.fetch.HasField("attempt_time")
    found.fetch.ClearField("attempt_time")
    assert found.fetch == SpecificationFetch(state=FAILED, failure="HTTP 404", attempts=5)
    assert (found.url, found.sha256) == (api.specification.url, "")
    assert origin.paths == [PATH] * 5


async def test_nothing_is_fetched_from_this_machine_unless_the_settings_allow_it(
    stopped_director: DirectorProcess, origin: Origin
) -> None:
    origin.answers[PATH] = Answer(DOCUMENT)
    await stopped_director.start()
    party = await Party.of(stopped_director)
    found = await party.settled(await party.create(origin))
    assert (found.fetch.state, found.fetch.attempts) == (FAILED, 1)
    assert found.fetch.failure == "the target is in a network that is not allowed"
    assert origin.asked == []


async def test_a_fetch_goes_on_after_a_kill_in_the_middle_of_it(director: DirectorProcess, origin: Origin) -> None:
    origin.answers[PATH] = Answer(DOCUMENT, held=True)
    party = await Party.of(director)
    api = await party.create(origin)
    wait_for("the request", lambda: origin.asked)
    await director.end(signal.SIGKILL)
    origin.answers[PATH] = Answer(DOCUMENT)
    await director.start()
    found = await party.settled(api)
    assert (found.fetch.state, found.fetch.attempts) == (FETCHED, 1)
    assert found.sha256 == hashlib.sha256(DOCUMENT).hexdigest()


async def test_a_document_larger_than_any_call_takes_is_downloaded_whole_by_those_who_may(
    director: DirectorProcess, origin: Origin
) -> None:
    content = large_descriptor_set()
    assert len(content) > 4 << 20
    origin.answers[PATH] = Answer(content)
    party = await Party.of(director)
    found = await party.settled(await party.create(origin, DESCRIPTOR_SET))
    assert (found.fetch.state, found.state, found.size_bytes) == (FETCHED, VALID, len(content))

    runtime_id = await served(director, party)
    runtime = director.stub(director.mint.identity("runtime", runtime_id))
    assert await download(party.stub, party.application_id, found.sha256) == content
    assert await download(runtime, party.application_id, found.sha256, runtime_id) == content

    other = CreateRuntimeRequest(runtime=Runtime(name="other"))
    stranger_id = (await director.stub().CreateRuntime(other, timeout=20)).runtime.runtime_id
    stranger = director.stub(director.mint.identity("runtime", stranger_id))
    for as_whom, reason in ((stranger_id, "NOT_SERVED"), (runtime_id, "ACCESS_DENIED")):
        problem = await problem_of(download(stranger, party.application_id, found.sha256, as_whom))
        assert problem.reason == reason
    problem = await problem_of(download(party.stub, party.application_id, "0" * 64))
    assert problem.reason == "SPECIFICATION_NOT_FOUND"


async def served(director: DirectorProcess, party: Party) -> str:
    """A new Runtime that the Application serves."""
    admin = director.stub()
    group = CreateGroupRequest(group=Group(name="all"), application_ids=[party.application_id])
    group_id = (await admin.CreateGroup(group, timeout=20)).group.group_id
    runtime = CreateRuntimeRequest(runtime=Runtime(name="prod"), group_ids=[group_id])
    return (await admin.CreateRuntime(runtime, timeout=20)).runtime.runtime_id


async def download(stub: DirectorStub, application_id: str, sha256: str, runtime_id: str = "") -> bytes:
    """A document in its pieces, put together; none is larger than one may be, and the first tells the size."""
    request = DownloadSpecificationRequest(application_id=application_id, sha256=sha256, runtime_id=runtime_id)
    pieces = [piece async for piece in stub.DownloadSpecification(request, timeout=60)]
    content = b"".join(piece.data for piece in pieces)
    assert max(len(piece.data) for piece in pieces) <= 256 * 1024
    assert [piece.size_bytes for piece in pieces] == [len(content), *[0] * (len(pieces) - 1)]
    return content


def large_descriptor_set() -> bytes:
    """A good one of 5 MiB, no two pieces of which are the same."""
    file = FileDescriptorProto(name="a.proto")
    file.message_type.add(name="A")
    method = file.service.add(name="S").method.add(name="M")
    method.input_type = method.output_type = ".A"
    comment = "".join(f"{n:08d}" for n in range((5 << 20) // 8))
    file.source_code_info.location.add(path=[6, 0], span=[0, 0, 0], leading_comments=comment)
    return FileDescriptorSet(file=[file]).SerializeToString()

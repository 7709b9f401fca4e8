"""The story, step by step: each does one thing for real, checks what came of it, and says what was seen."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import grpc
import httpx
from google.longrunning.operations_pb2 import Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.connector.v1.identity_pb2 import RevocationAction, RevokeIdentityRequest
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, DeleteApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, DeleteApplicationRequest
from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
)
from moorage.director.v1.event_api_pb2 import CreateEventApiRequest, EventApi
from moorage.director.v1.group_pb2 import CreateGroupRequest, DeleteGroupRequest, Group
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat, SpecificationState
from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, DeleteRuntimeRequest, RuntimeOperationMetadata

from certs.errors import CertsError
from certs.identity import Identity, LoadedIdentity
from certs.spiffe import Kind
from certs.token import OneTimeToken
from cli.demo.load import renewed_under_load
from cli.demo.report import StepFailed
from cli.demo.runtime import wait_for_status
from cli.demo.stage import EVENT_URL, Stage
from mesh.enrolment import enrol
from mesh.errors import Problem

READY_DEADLINE = 90.0
NOTICE_DEADLINE = 60.0
APPLIED_DEADLINE = 60.0
REFUSED_DEADLINE = 20.0
STOP_DEADLINE = 15.0


@dataclass(frozen=True)
class Step:
    """One step: `act` returns what was seen, or raises."""

    name: str
    title: str
    act: Callable[[Stage], Awaitable[str]]


async def _plane(stage: Stage) -> str:
    await stage.start_plane()
    plane = stage.plane
    return f"Director {plane.director}, Connector {plane.connector}, Provisioner {plane.provisioner}"


async def _httpbin(stage: Stage) -> str:
    await stage.start_httpbin()
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{stage.httpbin_url}/status/200")
    _check(answer.status_code == 200, f"httpbin answered {answer.status_code}")
    return stage.httpbin_url


async def _application(stage: Stage) -> str:
    request = CreateApplicationRequest(
        application=Application(name="httpbin", description="The HTTP request and response service"),
        request_id=_new_id(),
    )
    answer = await stage.admin.call(lambda admin: admin.director.CreateApplication, request)
    stage.application_id = answer.application.application_id
    return f"application {stage.application_id}"


async def _pair(stage: Stage) -> str:
    return str((await _paired(stage)).spiffe_id)


async def _webhook(stage: Stage) -> str:
    stage.receiver.open()
    webhook = Webhook(application_id=stage.application_id, url=stage.receiver.url, secret=stage.receiver.secret)
    await stage.application.call(lambda party: party.director.UpdateWebhook, UpdateWebhookRequest(webhook=webhook))
    return stage.receiver.url


async def _api(stage: Stage) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        document = (await client.get(f"{stage.httpbin_url}/spec.json")).raise_for_status().text
    api = Api(
        application_id=stage.application_id,
        name="httpbin",
        target_url=stage.httpbin_url,
        specification=Specification(format=SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, content=document),
    )
    request = CreateApiRequest(api=api, request_id=_new_id())
    stored = (await stage.application.call(lambda party: party.director.CreateApi, request)).api
    stage.api_id = stored.api_id
    return _checked_specification(stored.specification, document)


async def _event_api(stage: Stage) -> str:
    document = (files("cli.demo") / "asyncapi.yaml").read_text()
    event_api = EventApi(
        application_id=stage.application_id,
        name="httpbin-events",
        specification=Specification(format=SpecificationFormat.SPECIFICATION_FORMAT_ASYNCAPI, content=document),
    )
    request = CreateEventApiRequest(event_api=event_api, request_id=_new_id())
    stored = (await stage.application.call(lambda party: party.director.CreateEventApi, request)).event_api
    _check(
        stored.specification.state == SpecificationState.SPECIFICATION_STATE_VALID,
        f"our own document was found invalid: {'; '.join(stored.specification.problems)}",
    )
    return _checked_specification(stored.specification, document)


async def _group(stage: Stage) -> str:
    request = CreateGroupRequest(group=Group(name="demo"), application_ids=[stage.application_id], request_id=_new_id())
    stage.group_id = (await stage.admin.call(lambda admin: admin.director.CreateGroup, request)).group.group_id
    return f"group {stage.group_id}"


async def _runtime(stage: Stage) -> str:
    request = CreateRuntimeRequest(name="demo", event_url=EVENT_URL, group_ids=[stage.group_id], request_id=_new_id())
    operation = await stage.admin.call(lambda admin: admin.provisioner.CreateRuntime, request)
    metadata = await _done(stage, operation)
    stage.runtime_id = metadata.runtime_id
    answer = await stage.admin.call(
        lambda admin: admin.director.GetRuntime, GetRuntimeRequest(runtime_id=stage.runtime_id)
    )
    _check(
        answer.runtime.state == RuntimeState.RUNTIME_STATE_READY,
        f"the operation is done, but the runtime is {RuntimeState.Name(answer.runtime.state)}",
    )
    steps = ", ".join(
        f"{step.name} {(step.end_time.ToNanoseconds() - step.start_time.ToNanoseconds()) / 1e6:.0f} ms"
        for step in metadata.steps
    )
    return f"READY at revision {answer.runtime.status.revision} ({steps})"


async def _notice(stage: Stage) -> str:
    notice = await stage.receiver.wait_for(
        "RUNTIME_READY",
        lambda notice: notice.type == "RUNTIME_READY" and stage.runtime_id in str(notice.body),
        deadline=NOTICE_DEADLINE,
    )
    _check(stage.receiver.refused == 0, f"{stage.receiver.refused} notices came with a signature that is not valid")
    return f"{notice.type} {notice.id}, signature valid"


async def _event_url(stage: Stage) -> str:
    view = await _read_configuration(stage)
    served = [runtime for runtime in view.runtimes if runtime.runtime_id == stage.runtime_id]
    _check(len(served) == 1 and served[0].ready, f"the Application does not see the Runtime as ready: {view.runtimes}")
    _check(served[0].event_url == EVENT_URL, f"the event URL is {served[0].event_url!r}")
    return f"{served[0].event_url}, certificate of {served[0].spiffe_id}"


async def _change(stage: Stage) -> str:
    # Both times are of this host's clock: the Director's when it committed, the agent's when it had applied.
    request = UpdateApiRequest(
        api=Api(application_id=stage.application_id, api_id=stage.api_id, description="Changed while it runs"),
        update_mask=FieldMask(paths=["description"]),
    )
    stored = (await stage.application.call(lambda party: party.director.UpdateApi, request)).api
    status = await wait_for_status(
        stage.agent_folder,
        f"revision {stored.revision}",
        lambda status: status.state == "APPLIED" and (status.revision or 0) >= stored.revision,
        deadline=APPLIED_DEADLINE,
    )
    assert status.applied_at is not None  # noqa: S101 - it is, once something was applied
    took = status.applied_at.timestamp() * 1000 - stored.update_time.ToMicroseconds() / 1000
    return f"commit to applied in {took:.1f} ms (revision {stored.revision})"


async def _token(stage: Stage) -> str:
    try:
        await enrol(OneTimeToken.decode(stage.token), Identity(stage.folder / "thief"))
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        _check(problem.is_reason(Reason.REASON_TOKEN_REFUSED), f"refused, but as {problem.code.name} {problem.reason}")
        return f"{problem.code.name} {problem.reason}: {problem.message}"
    raise StepFailed("the used token gave an identity a second time")


async def _revocation(stage: Stage) -> str:
    clock = asyncio.get_running_loop().time
    request = RevokeIdentityRequest(
        application_id=stage.application_id,
        action=RevocationAction.REVOCATION_ACTION_EVICT,
        reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE,
    )
    await stage.admin.call(lambda admin: admin.connector.RevokeIdentity, request)
    answered = clock()
    await _refused_as_revoked(stage)
    took = clock() - answered
    identity = await _paired(stage)
    await _read_configuration(stage)
    return f"refused {took * 1000:.0f} ms later on the same connection; a new token gave it {identity.serial[:8]}"


async def _refused_as_revoked(stage: Stage) -> None:
    try:
        async with asyncio.timeout(REFUSED_DEADLINE):
            while True:
                await _read_configuration(stage)
    except TimeoutError as error:
        raise StepFailed(f"the Director answers the revoked identity {REFUSED_DEADLINE:g} s later") from error
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        _check(
            problem.is_reason(Reason.REASON_CERTIFICATE_REVOKED),
            f"refused, but as {problem.code.name} {problem.reason}",
        )


async def _delete(stage: Stage) -> str:
    admin = stage.admin
    request = DeleteRuntimeRequest(runtime_id=stage.runtime_id, request_id=_new_id())
    await _done(stage, await admin.call(lambda admin: admin.provisioner.DeleteRuntime, request))
    _check(not stage.agent_folder.exists(), f"{stage.agent_folder} is still there")
    await stage.application.delete(
        lambda party: party.director.DeleteApi,
        DeleteApiRequest(application_id=stage.application_id, api_id=stage.api_id),
    )
    await admin.delete(
        lambda admin: admin.director.DeleteGroup, DeleteGroupRequest(group_id=stage.group_id, force=True)
    )
    await admin.delete(
        lambda admin: admin.director.DeleteApplication,
        DeleteApplicationRequest(application_id=stage.application_id, force=True),
    )
    return "runtime, API, group and application are gone"


async def _stop(stage: Stage) -> str:
    await stage.stop()
    # A service whose `moorage up` was killed a moment ago may be on its way out still.
    left = await stage.left_running(after=STOP_DEADLINE)
    _check(not left, f"processes {left} are still there")
    return "nothing is left running"


STEPS: Sequence[Step] = (
    Step("plane", "moorage up: the plane starts", _plane),
    Step("httpbin", "httpbin is served on loopback", _httpbin),
    Step("application", "The administrator registers it", _application),
    Step("pair", "One token makes it an identity", _pair),
    Step("webhook", "It says where to send notices", _webhook),
    Step("api", "It registers its API", _api),
    Step("event-api", "It registers its Event API", _event_api),
    Step("group", "A group is made for it", _group),
    Step("runtime", "A Runtime is created and is READY", _runtime),
    Step("notice", "Its webhook hears of the Runtime", _notice),
    Step("event-url", "It reads the Runtime's event URL", _event_url),
    Step("change", "It changes its API, the Runtime has it", _change),
    Step("renewal", "The agent's certificate is renewed", renewed_under_load),
    Step("token", "The used token is tried again", _token),
    Step("revocation", "It is evicted, and pairs anew", _revocation),
    Step("delete", "All is deleted", _delete),
    Step("stop", "The plane stops", _stop),
)


async def _paired(stage: Stage) -> LoadedIdentity:
    """What a one-time token makes of the Application."""
    issued = await stage.admin.call(
        lambda admin: admin.connector.IssueToken, IssueTokenRequest(application_id=stage.application_id)
    )
    stage.token = issued.token
    identity = Identity(stage.application_folder)
    await enrol(OneTimeToken.decode(issued.token), identity, expected_kind=Kind.APPLICATION)
    paired = identity.load()
    _check(
        str(paired.spiffe_id) == issued.spiffe_id,
        f"the certificate is for {paired.spiffe_id}, not for {issued.spiffe_id}",
    )
    return paired


async def _read_configuration(stage: Stage) -> GetApplicationConfigurationResponse:
    """What the Application is told of the Runtimes that it serves."""
    request = GetApplicationConfigurationRequest(application_id=stage.application_id)
    return await stage.application.call(lambda party: party.director.GetApplicationConfiguration, request)


async def _done(stage: Stage, operation: Operation) -> RuntimeOperationMetadata:
    """Wait for the operation's end; raises `StepFailed` where it failed, or has not ended in time."""
    request = WaitOperationRequest(name=operation.name, timeout=Duration(seconds=15))
    try:
        async with asyncio.timeout(READY_DEADLINE):
            while not operation.done:
                operation = await stage.admin.call(
                    lambda admin: admin.operations.WaitOperation, request, attempt_deadline=20
                )
    except TimeoutError as error:
        raise StepFailed(f"{operation.name} has not ended within {READY_DEADLINE:g} s") from error
    if operation.HasField("error"):
        problem = Problem.from_status(operation.error)
        raise StepFailed(f"{operation.name} failed: {problem.message} ({problem.reason})")
    metadata = RuntimeOperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def _checked_specification(stored: Specification, document: str) -> str:
    """What was stored, which is what was sent. A document that breaks its format's rules is stored all the same."""
    content = document.encode()
    _check(stored.sha256 == sha256(content).hexdigest(), "what was stored is not what was sent")
    size = f"{len(content):,} bytes"
    if stored.state == SpecificationState.SPECIFICATION_STATE_VALID:
        return f"{size} stored, valid"
    _check(bool(stored.problems), f"stored as {SpecificationState.Name(stored.state)}, without a reason")
    return f"{size} stored, not valid: {stored.problems[0]}, and {len(stored.problems) - 1} more"


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StepFailed(otherwise)


def _new_id() -> str:
    return str(uuid.uuid4())


def why(error: Exception) -> str:
    """Why a step failed, in one line."""
    if isinstance(error, grpc.RpcError):
        problem = Problem.of(error)
        return f"{problem.code.name} {problem.reason}: {problem.message}"
    if isinstance(error, StepFailed | CertsError):
        return str(error)
    return f"{type(error).__name__}: {error}"

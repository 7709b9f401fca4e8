"""What other services answer, as the Provisioner takes it."""

from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest
from buf.validate import validate_pb2
from google.rpc import status_pb2
from moorage.connector.v1.token_pb2 import IssueTokenRequest, IssueTokenResponse
from moorage.director.v1 import runtime_pb2 as director
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest

from certs.identity import IdentityReason, IdentityRefused
from mesh.channel import LiveChannel
from mesh.errors import Refusal
from provisioner.plane import MeshPlane

EDGE = CreateRuntimeRequest(
    name="edge-1",
    description="by the sea",
    event_url="https://edge-1.test",
    group_ids=["a", "b"],
    request_id="ours",
    labels={"zone": "sea"},
)
RUNTIME = "22222222-2222-4222-8222-222222222222"


class Channel:
    """A `LiveChannel` whose every stub is one double; `answer` gives, or raises, what the call ends with."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.requests: list[Any] = []

    def stub(self, make: object) -> "Channel":
        return self

    async def _call(self, request: Any, timeout: float) -> Any:
        self.requests.append(request)
        return self._answer(request)

    CreateRuntime = GetRuntime = DeleteRuntime = IssueToken = _call


def plane(channel: Channel) -> MeshPlane:
    live = cast(LiveChannel, channel)
    return MeshPlane(live, live, timeout=1.0, token_ttl=600.0)


def raising(error: Exception) -> Channel:
    def answer(_: Any) -> Any:
        raise error

    return Channel(answer)


def refused(refusal: Refusal) -> Channel:
    """A service that refuses as ours do."""
    status: status_pb2.Status = refusal.to_status("request-1")
    details = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return raising(grpc.aio.AioRpcError(refusal.code, grpc.aio.Metadata(), details, refusal.message))


async def test_a_creation_is_checked_without_changing_anything() -> None:
    channel = Channel(lambda _: director.CreateRuntimeResponse())
    await plane(channel).check(EDGE)
    [request] = channel.requests
    assert (request.validate_only, request.request_id) == (True, "")


async def test_a_registration_carries_all_that_was_asked_for_under_the_operations_id() -> None:
    channel = Channel(lambda _: director.CreateRuntimeResponse(runtime=director.Runtime(runtime_id=RUNTIME)))
    assert await plane(channel).register(EDGE, "operation-1") == RUNTIME
    assert channel.requests == [
        director.CreateRuntimeRequest(
            runtime=director.Runtime(
                name="edge-1", description="by the sea", event_url="https://edge-1.test", labels={"zone": "sea"}
            ),
            group_ids=["a", "b"],
            request_id="operation-1",
        )
    ]


def test_labels_are_held_to_the_rules_that_the_director_has_for_them() -> None:
    ours, theirs = (
        message.DESCRIPTOR.fields_by_name["labels"].GetOptions().Extensions[validate_pb2.field]
        for message in (CreateRuntimeRequest, director.Runtime)
    )
    assert ours == theirs


async def test_a_token_is_asked_for_with_the_time_that_is_set() -> None:
    channel = Channel(lambda _: IssueTokenResponse(token="moor_secret"))
    assert await plane(channel).issue_token(RUNTIME) == "moor_secret"
    [request] = channel.requests
    assert isinstance(request, IssueTokenRequest)
    assert (request.runtime_id, request.ttl.seconds) == (RUNTIME, 600)


@pytest.mark.parametrize(
    ("reason", "field"),
    [(Reason.REASON_NAME_TAKEN, "name"), (Reason.REASON_LABEL_INVALID, 'labels["zone"]')],
)
async def test_a_refusal_of_what_was_asked_for_is_passed_on_at_our_own_field(
    reason: Reason.ValueType, field: str
) -> None:
    said = Refusal(reason, "it cannot be so", field=f"runtime.{field}", metadata={"id": "x"})
    with pytest.raises(Refusal) as passed_on:
        await plane(refused(said)).check(EDGE)
    assert (passed_on.value.reason, passed_on.value.metadata) == (reason, {"id": "x"})
    assert [each.field for each in passed_on.value.violations] == [field]


@pytest.mark.parametrize(
    "reason", [Reason.REASON_ACCESS_DENIED, Reason.REASON_CERTIFICATE_EXPIRED, Reason.REASON_INTERNAL]
)
async def test_a_refusal_of_ourselves_is_a_fault_and_not_the_callers(reason: Reason.ValueType) -> None:
    with pytest.raises(Refusal) as fault:
        await plane(refused(Refusal(reason, "said between the services"))).check(EDGE)
    assert fault.value.name == "INTERNAL"
    assert "said between" not in fault.value.message


@pytest.mark.parametrize(
    "error",
    [
        *(
            grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "")
            for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
        ),
        IdentityRefused(IdentityReason.MISSING, "no certificate"),
        PermissionError(13, "Permission denied", "tls.key"),
    ],
    ids=["unavailable", "deadline", "cancelled", "no-identity", "identity-not-readable"],
)
async def test_a_service_that_cannot_be_called_is_away(error: Exception) -> None:
    with pytest.raises(Refusal) as away:
        await plane(raising(error)).issue_token(RUNTIME)
    assert (away.value.name, away.value.metadata) == ("DEPENDENCY_UNAVAILABLE", {"service": "connector"})
    assert away.value.retry_after is not None


async def test_a_runtime_that_is_gone_already_is_deregistered() -> None:
    gone = Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "no such runtime", field="runtime_id")
    await plane(refused(gone)).deregister(RUNTIME)


async def test_a_runtime_that_cannot_be_deregistered_now_is_not_taken_for_gone() -> None:
    away = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "")
    with pytest.raises(Refusal):
        await plane(raising(away)).deregister(RUNTIME)

"""Asking the real Connector for one-time tokens."""

import grpc
import pytest
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.token import OneTimeToken
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, UNKNOWN_ID, Plane, problem_of


async def test_the_director_is_asked_over_mtls_as_the_connector(plane: Plane) -> None:
    response = await plane.connector().IssueToken(IssueTokenRequest(application_id=APPLICATION_ID), timeout=5)

    assert plane.director.asked_by == ["spiffe://moorage.test/service/connector"]
    assert response.spiffe_id == f"spiffe://moorage.test/application/{APPLICATION_ID}"
    assert OneTimeToken.decode(response.token).address == plane.settings["enrolment_address"]


@pytest.mark.parametrize(
    ("request_for", "reason", "field"),
    [
        (IssueTokenRequest(application_id=UNKNOWN_ID), Reason.REASON_APPLICATION_NOT_FOUND, "application_id"),
        (IssueTokenRequest(runtime_id=UNKNOWN_ID), Reason.REASON_RUNTIME_NOT_FOUND, "runtime_id"),
    ],
    ids=["application", "runtime"],
)
async def test_an_unknown_party_is_not_found_by_its_field(
    plane: Plane, request_for: IssueTokenRequest, reason: Reason.ValueType, field: str
) -> None:
    problem = await problem_of(plane.connector().IssueToken(request_for, timeout=5))

    assert problem.code == grpc.StatusCode.NOT_FOUND
    assert problem.is_reason(reason)
    assert [each.field for each in problem.violations] == [field]


async def test_while_the_director_is_away_the_caller_is_told_which_service_and_when_to_retry(plane: Plane) -> None:
    await plane.stop_director()

    problem = await problem_of(plane.connector().IssueToken(IssueTokenRequest(runtime_id=RUNTIME_ID), timeout=5))

    assert problem.code == grpc.StatusCode.UNAVAILABLE
    assert problem.is_reason(Reason.REASON_DEPENDENCY_UNAVAILABLE)
    assert problem.metadata["service"] == "director"
    assert problem.retry_after is not None


async def test_a_runtime_may_not_issue_tokens_and_a_provisioner_only_for_runtimes(plane: Plane) -> None:
    runtime = plane.connector(plane.mint.identity("runtime", RUNTIME_ID))
    provisioner = plane.connector(plane.mint.identity("service", "provisioner"))
    for_runtime = IssueTokenRequest(runtime_id=RUNTIME_ID)

    problems = [
        await problem_of(runtime.IssueToken(for_runtime, timeout=5)),
        await problem_of(provisioner.IssueToken(IssueTokenRequest(application_id=APPLICATION_ID), timeout=5)),
    ]

    assert [each.reason for each in problems] == ["ACCESS_DENIED", "ACCESS_DENIED"]
    assert (await provisioner.IssueToken(for_runtime, timeout=5)).token


async def test_malformed_requests_are_refused_by_their_fields(plane: Plane) -> None:
    too_long = IssueTokenRequest(runtime_id=RUNTIME_ID)
    too_long.ttl.FromSeconds(86401)

    problems = {
        "application_id": IssueTokenRequest(application_id="not-a-uuid"),
        "ttl": too_long,
        "party": IssueTokenRequest(),
    }
    fields = {
        name: (await problem_of(plane.connector().IssueToken(request, timeout=5))).violations[0].field
        for name, request in problems.items()
    }

    assert fields == {name: name for name in problems}

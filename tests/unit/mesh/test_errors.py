"""The catalogue of refusals, there and back."""

from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import MOST_VIOLATIONS_BYTES, Problem, Refusal, Violation

REASONS = [value for value in Reason.values() if value != Reason.REASON_UNSPECIFIED]


@pytest.mark.parametrize("reason", REASONS, ids=Reason.Name)
def test_every_reason_has_a_status_code_and_a_remedy(reason: Reason.ValueType) -> None:
    problem = Problem.from_status(Refusal(reason, "because").to_status())
    assert problem.code not in {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}
    assert problem.remedy.endswith(".")
    assert problem.is_reason(reason)


def test_a_refusal_comes_back_whole() -> None:
    refusal = Refusal(
        Reason.REASON_NAME_TAKEN,
        "the name is taken",
        field="application.name",
        violations=[Violation("request_id", "must be a valid UUID")],
        metadata={"id": "7"},
        retry_after=timedelta(milliseconds=1500),
    )
    problem = Problem.from_status(refusal.to_status("call-1"))
    assert problem.code is grpc.StatusCode.ALREADY_EXISTS
    assert problem.message == "the name is taken"
    assert problem.violations == (
        Violation("application.name", "the name is taken"),
        Violation("request_id", "must be a valid UUID"),
    )
    assert problem.metadata == {"id": "7", "request_id": "call-1"}
    assert problem.retry_after == timedelta(milliseconds=1500)


def test_a_refusal_of_a_thousand_fields_names_the_first_ones_and_fits_the_trailers() -> None:
    violations = [Violation(f"application_ids[{n}]", f"there is no application {n:036}") for n in range(1000)]
    status = Refusal(Reason.REASON_APPLICATION_NOT_FOUND, "1000 do not exist", violations=violations).to_status(
        "call-1"
    )
    assert status.ByteSize() < MOST_VIOLATIONS_BYTES + 1000
    told = Problem.from_status(status).violations
    assert 10 < len(told) < 100
    assert told == tuple(violations[: len(told)])


def test_a_refusal_that_repeats_a_long_value_is_cut_and_fits_the_trailers() -> None:
    long = "\N{BALLOT BOX}" * 100_000
    refusal = Refusal(
        Reason.REASON_UPDATE_MASK_INVALID, f"no {long}", violations=[Violation(long, long)], metadata={"settable": long}
    )
    status = refusal.to_status("call-1")
    assert status.ByteSize() < 4000
    problem = Problem.from_status(status)
    assert problem.message.startswith("no \N{BALLOT BOX}")
    assert problem.message.endswith("...")
    assert problem.metadata["request_id"] == "call-1"
    assert len(problem.violations) == 1


def test_a_refusal_can_be_passed_on_without_the_other_calls_request_id() -> None:
    problem = Problem.from_status(Refusal(Reason.REASON_GROUP_NOT_FOUND, "no such group").to_status("call-1"))
    passed_on = problem.as_refusal()
    assert passed_on is not None
    assert passed_on.reason == Reason.REASON_GROUP_NOT_FOUND
    assert passed_on.metadata == {}


def test_a_reason_of_another_domain_is_not_taken_for_ours() -> None:
    status = Refusal(Reason.REASON_NAME_TAKEN, "taken").to_status()
    info = error_details_pb2.ErrorInfo(reason="NAME_TAKEN", domain="elsewhere.example")
    status.details[0].Pack(info)
    problem = Problem.from_status(status)
    assert problem.reason == ""
    assert problem.as_refusal() is None


def test_a_failure_without_details_keeps_its_code_and_message() -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone")
    assert Problem.of(error) == Problem(grpc.StatusCode.UNAVAILABLE, "gone")

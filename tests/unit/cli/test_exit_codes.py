"""Each error gives its documented exit code."""

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from moorage.errors.v1.errors_pb2 import Reason

from certs.token import OneTimeToken, TokenMalformed
from cli.exits import explained
from mesh.errors import Refusal, Violation
from mesh.exits import Exit
from mesh.probe import PinMismatch
from mesh.settings import SettingsRefused

PAGE = Path(__file__).parents[3] / "docs" / "exit-codes.md"


def failed_call(refusal: Refusal) -> grpc.aio.AioRpcError:
    status = rpc_status.to_status(refusal.to_status("request"))
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, status.details)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.REASON_FIELD_INVALID, Exit.BAD_INPUT),
        (Reason.REASON_APPLICATION_NOT_FOUND, Exit.NOT_FOUND),
        (Reason.REASON_ACCESS_DENIED, Exit.REFUSED),
        (Reason.REASON_CERTIFICATE_REQUIRED, Exit.REFUSED),
        (Reason.REASON_NAME_TAKEN, Exit.CONFLICT),
        (Reason.REASON_ETAG_MISMATCH, Exit.CONFLICT),
        (Reason.REASON_RUNTIME_BUSY, Exit.CONFLICT),
        (Reason.REASON_NOT_READY, Exit.UNAVAILABLE),
        (Reason.REASON_RUNTIME_NOT_READY, Exit.DEADLINE),
        (Reason.REASON_TOKEN_MALFORMED, Exit.TOKEN_MALFORMED),
        (Reason.REASON_TOKEN_REFUSED, Exit.TOKEN_REFUSED),
        (Reason.REASON_TOO_MANY_STREAMS, Exit.UNAVAILABLE),
        (Reason.REASON_RATE_LIMITED, Exit.UNAVAILABLE),
        (Reason.REASON_INTERNAL, Exit.UNEXPECTED),
    ],
)
def test_a_refused_call_gives_the_exit_code_of_its_reason(reason: Reason.ValueType, code: Exit) -> None:
    assert explained(failed_call(Refusal(reason, "no")))[0] is code


def test_a_refused_call_is_told_with_its_reason_its_fields_and_what_mends_it() -> None:
    refusal = Refusal(Reason.REASON_FIELD_INVALID, "the name is too long", field="application.name")
    assert explained(failed_call(refusal))[1] == (
        "the name is too long [FIELD_INVALID, application.name]. "
        "Mend the fields that are named and send the request again"
    )


def test_of_several_fields_at_fault_each_is_told_with_what_is_wrong_with_it_once() -> None:
    violations = [Violation("api.name", "must be a DNS label"), Violation("api.target_url", "must be a URL")]
    refusal = Refusal(Reason.REASON_FIELD_INVALID, "api.name: must be a DNS label, and 1 more", violations=violations)
    assert explained(failed_call(refusal))[1] == (
        "api.name: must be a DNS label, and 1 more [FIELD_INVALID]. api.target_url: must be a URL. "
        "Mend the fields that are named and send the request again"
    )


def test_a_plane_that_does_not_answer_is_unavailable() -> None:
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "connection refused"
    )
    assert explained(error) == (Exit.UNAVAILABLE, "connection refused")


def test_a_truncated_token_is_told_from_a_refused_one() -> None:
    with pytest.raises(TokenMalformed) as malformed:
        OneTimeToken.decode("moor_aeb")
    assert explained(malformed.value)[0] is Exit.TOKEN_MALFORMED


@pytest.mark.parametrize(
    ("error", "code"), [(PinMismatch("another plane"), Exit.PIN_MISMATCH), (SettingsRefused("no"), Exit.USAGE)]
)
def test_errors_of_the_mesh_give_their_exit_code(error: Exception, code: Exit) -> None:
    assert explained(error) == (code, str(error))


def test_every_exit_code_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [(str(each.value), each.name) for each in Exit]


def test_the_details_of_a_refusal_survive_the_wire() -> None:
    error = failed_call(Refusal(Reason.REASON_NAME_TAKEN, "taken"))
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it reads what AioRpcError has too
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in status.details)

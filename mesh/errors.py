"""The one door for errors: refusals as the contract's catalogue defines them, on both sides of the wire.

A service raises `Refusal`; the call pipeline sends it as a `google.rpc.Status` (AIP-193) with `ErrorInfo`, the
remedy, and, where they apply, `BadRequest` and `RetryInfo`. A client reads it back as `Problem`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from moorage.errors.v1 import errors_pb2
from moorage.errors.v1.errors_pb2 import Reason

DOMAIN = "moorage"
"""`ErrorInfo.domain` of every refusal."""

MOST_TEXT = 800
"""Bytes (UTF-8) of a message, a metadata value or a part of a violation that are sent; what is longer is cut.

A status travels in the trailers. A client that is sent more than 8 KiB of those may drop them all, which is a limit of
gRPC, and would then learn neither the reason nor the code.
"""

MOST_VIOLATIONS_BYTES = 2500
"""Bytes of violations that are sent, the first ones first, for the same cause."""

_PREFIX = "REASON_"
_STATUS_DETAILS = "grpc-status-details-bin"
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Violation:
    """One field that breaks a rule: its path in the request (`application.name`), and what the rule says."""

    field: str
    description: str


class Refusal(Exception):
    """A call that is refused for a reason of the catalogue (`moorage.errors.v1.Reason`).

    `message` is for the developer who called and holds no secret and nothing internal. `field` and `violations`
    become `BadRequest`; `retry_after` becomes `RetryInfo`.
    """

    def __init__(
        self,
        reason: Reason.ValueType,
        message: str,
        *,
        field: str | None = None,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = _cut(message)
        self.violations = (Violation(field, message), *violations) if field else tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    @property
    def code(self) -> grpc.StatusCode:
        """The status code that the contract gives the reason."""
        return _STATUS_CODES[_definition(self.reason).code]

    @property
    def name(self) -> str:
        """The reason as `ErrorInfo` carries it, such as `NAME_TAKEN`."""
        return Reason.Name(self.reason).removeprefix(_PREFIX)

    def to_status(self, request_id: str = "") -> status_pb2.Status:
        """The refusal as it goes over the wire, no larger than it may be there.

        `request_id` finds the call in the service's log.
        """
        metadata = {key: _cut(value) for key, value in self.metadata.items()}
        if request_id:
            metadata["request_id"] = request_id
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.name, domain=DOMAIN, metadata=metadata),
            error_details_pb2.LocalizedMessage(locale="en", message=_definition(self.reason).remedy),
        ]
        if self.violations:
            details.append(_bad_request(self.violations))
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(self.retry_after)
            details.append(retry)
        return status_pb2.Status(
            code=_definition(self.reason).code,
            message=self.message,
            details=[_packed(each) for each in details],
        )


@dataclass(frozen=True)
class Problem:
    """What a client learns from a failed call. `reason` is empty where the other side gave none."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    remedy: str = ""
    violations: tuple[Violation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after: timedelta | None = None

    @classmethod
    def of(cls, error: grpc.RpcError) -> "Problem":
        """Read a failed grpc.aio call, whoever answered it; a transport failure has only code and message."""
        if not isinstance(error, grpc.aio.AioRpcError):
            return cls(grpc.StatusCode.UNKNOWN, str(error))
        for key, value in error.trailing_metadata() or ():
            if key == _STATUS_DETAILS and isinstance(value, bytes):
                return cls.from_status(status_pb2.Status.FromString(value))
        return cls(error.code(), error.details() or "")

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> "Problem":
        """Read a `google.rpc.Status`, such as the error of an operation (AIP-151)."""
        info, remedy = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        retry_after = None
        for detail in status.details:
            detail.Unpack(info) or detail.Unpack(remedy) or detail.Unpack(bad)
            if detail.Unpack(retry):
                retry_after = retry.retry_delay.ToTimedelta()
        return cls(
            code=_STATUS_CODES.get(status.code, grpc.StatusCode.UNKNOWN),
            message=status.message,
            reason=info.reason if info.domain == DOMAIN else "",
            remedy=remedy.message,
            violations=tuple(Violation(each.field, each.description) for each in bad.field_violations),
            metadata=dict(info.metadata),
            retry_after=retry_after,
        )

    def is_reason(self, reason: Reason.ValueType) -> bool:
        """Whether the call was refused for this reason."""
        return self.reason == Reason.Name(reason).removeprefix(_PREFIX)

    def as_refusal(self) -> Refusal | None:
        """The same refusal, to pass on to one's own caller; None where there is no reason of the catalogue."""
        if f"{_PREFIX}{self.reason}" not in Reason.keys():  # noqa: SIM118 - an enum wrapper, not a mapping
            return None
        return Refusal(
            Reason.Value(f"{_PREFIX}{self.reason}"),
            self.message,
            violations=self.violations,
            metadata={key: value for key, value in self.metadata.items() if key != "request_id"},
            retry_after=self.retry_after,
        )


def cause_of(error: Exception) -> str:
    """What failed, in a line for the log: the reason that another service gave, or else what the error says."""
    if isinstance(error, grpc.RpcError):
        problem = Problem.of(error)
        return f"{problem.code.name}: {problem.reason or problem.message}"
    return str(error) or type(error).__name__


def _definition(reason: Reason.ValueType) -> errors_pb2.Definition:
    value = errors_pb2.DESCRIPTOR.enum_types_by_name["Reason"].values_by_number[reason]
    definition: errors_pb2.Definition = value.GetOptions().Extensions[errors_pb2.definition]
    if definition.code == code_pb2.OK:
        raise ValueError(f"{value.name} has no definition in the contract")
    return definition


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for each in violations:
        bad_request.field_violations.add(field=_cut(each.field), description=_cut(each.description))
        if bad_request.ByteSize() > MOST_VIOLATIONS_BYTES:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _cut(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= MOST_TEXT else f"{encoded[: MOST_TEXT - 3].decode(errors='ignore')}..."


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed

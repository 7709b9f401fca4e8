"""The call at hand: who calls, and by which id the logs know it."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from moorage.access.v1.access_pb2 import Role
from moorage.errors.v1.errors_pb2 import Reason

from certs.spiffe import Kind, SpiffeId
from mesh.errors import Refusal


@dataclass(frozen=True)
class Caller:
    """A party that proved its identity by a client certificate of this plane."""

    spiffe_id: SpiffeId
    """Its name."""

    serial: str
    """Serial number of its certificate, lowercase hexadecimal."""

    not_after: datetime
    """When the certificate ceases to count, in UTC."""

    authority_key: str = ""
    """Its authority key identifier (RFC 5280, section 4.2.1.1), lowercase hexadecimal; empty where it has none."""

    @cached_property
    def uri(self) -> str:
        """Its SPIFFE ID as it is written."""
        return str(self.spiffe_id)

    @cached_property
    def kind(self) -> Kind:
        """What kind of party it is."""
        return self.spiffe_id.kind

    @cached_property
    def name(self) -> str:
        """Its UUID (applications, runtimes) or its name."""
        return self.spiffe_id.name

    @cached_property
    def role(self) -> Role.ValueType:
        """What it is to the contract's access rules."""
        return _ROLES[self.kind, self.name if self.kind is Kind.SERVICE else ""]


_ROLES = {
    (Kind.ADMIN, ""): Role.ROLE_ADMIN,
    (Kind.VIEWER, ""): Role.ROLE_VIEWER,
    (Kind.APPLICATION, ""): Role.ROLE_APPLICATION,
    (Kind.RUNTIME, ""): Role.ROLE_RUNTIME,
    (Kind.SERVICE, "director"): Role.ROLE_DIRECTOR,
    (Kind.SERVICE, "connector"): Role.ROLE_CONNECTOR,
    (Kind.SERVICE, "provisioner"): Role.ROLE_PROVISIONER,
}


class _Call(NamedTuple):
    """What is known of a call; what few calls need is looked up when it is asked for."""

    caller: Caller | None
    request_id: Callable[[], str]
    address: Callable[[], str]


_call: ContextVar[_Call] = ContextVar("call", default=_Call(None, str, str))  # noqa: B039 - a tuple


def current_caller() -> Caller:
    """Who makes the call at hand. Raises `Refusal` (CERTIFICATE_REQUIRED) where nobody proved an identity."""
    caller = _call.get().caller
    if caller is None:
        raise Refusal(Reason.REASON_CERTIFICATE_REQUIRED, "the call carries no client certificate")
    return caller


def current_request_id() -> str:
    """The id of the call at hand: the caller's `x-request-id`, or one made for it. Empty outside of a call."""
    return _call.get().request_id()


def current_address() -> str:
    """The network address that the call at hand came from, as gRPC writes it (`ipv4:127.0.0.1:40000`)."""
    return _call.get().address()


def caller_name() -> str:
    """The SPIFFE ID of whoever makes the call at hand, for the log; empty where nobody proved one."""
    caller = _call.get().caller
    return str(caller.spiffe_id) if caller else ""


def enter(caller: Caller | None, request_id: Callable[[], str], address: Callable[[], str]) -> None:
    """Make a call the one at hand, for this task and those it starts. Only the pipeline calls this.

    `request_id()` must give the same each time.
    """
    _call.set(_Call(caller, request_id, address))

"""Who may call what: the contract's own rules (`moorage.access.v1`), read from the descriptors and enforced as is.

A method of ours without a rule makes `AccessRules.of` raise, so that no server starts with it.
"""

from collections.abc import Iterable, Mapping

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from moorage.access.v1 import access_pb2
from moorage.access.v1.access_pb2 import Grant, Role
from moorage.errors.v1.errors_pb2 import Reason

from mesh.call import Caller
from mesh.errors import Refusal


class AccessRules:
    """The rules of every method that a server offers, by method path (`/package.Service/Method`)."""

    def __init__(self, rules: Mapping[str, tuple[Grant, ...]]) -> None:
        self._rules = rules
        self._fitting: dict[tuple[str, Role.ValueType | None], tuple[Grant, ...]] = {}

    @classmethod
    def of(cls, services: Iterable[ServiceDescriptor]) -> "AccessRules":
        """Read the rules of these services and of the standard ones they borrow.

        Raises `ValueError` for a method without a rule, and for a rule that names a field that is not there.
        """
        rules: dict[str, tuple[Grant, ...]] = {}
        for service in services:
            for borrowed in service.GetOptions().Extensions[access_pb2.borrowed]:
                rules[borrowed.method] = tuple(borrowed.allow.grants)
            for method in service.methods:
                grants = tuple(method.GetOptions().Extensions[access_pb2.allow].grants)
                if not grants:
                    raise ValueError(f"{method.full_name} has no access rule in the contract")
                for path in (path for grant in grants for path in (grant.own, grant.has) if path):
                    _check_path(method.input_type, path)
                rules[f"/{service.full_name}/{method.name}"] = grants
        return cls(rules)

    def grants(self, method: str, caller: Caller | None) -> tuple[Grant, ...]:
        """The grants of `method` that fit the caller's role; `check_request` then looks at the request.

        Raises `Refusal`: CERTIFICATE_REQUIRED for a caller without identity, ACCESS_DENIED for any other.
        """
        role = caller.role if caller else None
        fitting = self._fitting.get((method, role))
        if fitting is None:
            grants = self._rules.get(method) or self._rules.get(f"{method.rpartition('/')[0]}/*") or ()
            fitting = tuple(each for each in grants if _fits(each.role, role))
            self._fitting[method, role] = fitting
        if fitting:
            return fitting
        if caller is None:
            raise Refusal(
                Reason.REASON_CERTIFICATE_REQUIRED,
                f"{method} needs a client certificate, and the call carries none",
                metadata={"method": method},
            )
        raise _denied(method, caller)


def check_request(method: str, grants: Iterable[Grant], caller: Caller | None, request: Message) -> None:
    """Hold the request against what the grants ask of it; raises `Refusal` (ACCESS_DENIED)."""
    for grant in grants:
        own = not grant.own or (caller is not None and _value(request, grant.own) == caller.name)
        if own and (not grant.has or _value(request, grant.has)):
            return
    assert caller is not None, "only a grant to a role asks anything of a request"  # noqa: S101
    raise _denied(method, caller)


def _fits(granted: Role.ValueType, role: Role.ValueType | None) -> bool:
    if granted == Role.ROLE_ANYONE:
        return True
    return role is not None and granted in (role, Role.ROLE_PARTY)


def _denied(method: str, caller: Caller) -> Refusal:
    return Refusal(
        Reason.REASON_ACCESS_DENIED,
        f"{caller.spiffe_id} may not call {method} for this resource",
        metadata={"method": method, "caller": str(caller.spiffe_id)},
    )


def _value(message: Message, path: str) -> object:
    value: object = message
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _check_path(message: object, path: str) -> None:
    for name in path.split("."):
        fields = getattr(message, "fields_by_name", {})
        if name not in fields:
            raise ValueError(f"an access rule names {path}, which {getattr(message, 'full_name', message)} lacks")
        message = fields[name].message_type

"""Trust: who may call what. Every method of the three services, called by every kind of caller, of a real plane."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from moorage.access.v1 import access_pb2
from moorage.access.v1.access_pb2 import Grant, Role
from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.certificate_pb2 import RevokeCertificateRequest
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1 import director_pb2
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.provisioner.v1 import provisioner_pb2

from certs.authority import Authority
from certs.clock import Clock, system_clock
from certs.identity import Identity, LoadedIdentity
from certs.issue import issue
from certs.keys import key_to_pem, new_key
from certs.spiffe import SpiffeId
from certs.token import OneTimeToken
from cli.demo.party import Party
from cli.plane.home import Home
from cli.plane.plane_file import Plane as PlaneFile
from mesh.channel import open_channel, open_pinned_channel
from mesh.enrolment import enrol
from mesh.errors import Problem
from tests.support.identities import Mint
from tests.support.plane import Up
from tests.support.wait import eventually

pytestmark = [pytest.mark.check("trust-10"), pytest.mark.timeout(240)]

SERVICES = {
    "director": director_pb2.DESCRIPTOR.services_by_name["Director"],
    "connector": connector_pb2.DESCRIPTOR.services_by_name["Connector"],
    "provisioner": provisioner_pb2.DESCRIPTOR.services_by_name["Provisioner"],
}
WILDCARDS = {"/grpc.health.v1.Health/*": "Check", "/grpc.reflection.v1alpha.ServerReflection/*": "ServerReflectionInfo"}
AT_ONCE = 16
FEW_AT_ONCE = 4
"""Below what a connection of a newcomer may have open."""

PATIENCE = 20.0
SILENCE = 1.0
"""Seconds after which a stream that was neither refused nor said anything counts as let in."""

SHORT = timedelta(seconds=10)

LET_IN = "let in"
NO_HANDSHAKE = "UNAVAILABLE"
"""What gRPC says where the TLS handshake failed: nothing of the call has left the client."""

GATE = {
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_FOREIGN",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "ACCESS_DENIED",
    NO_HANDSHAKE,
}


@dataclass(frozen=True)
class Caller:
    """Who calls: with which identity, in which role, as which Application or Runtime."""

    identity: LoadedIdentity
    role: Role.ValueType
    own: str = ""


@dataclass(frozen=True)
class Method:
    """A method as a service offers it, and to whom."""

    service: str
    path: str
    grants: tuple[Grant, ...]
    request: Callable[[], Any] | None = None
    streams: bool = False

    def requests(self, own: str) -> list[Any]:
        """Requests that differ in what the grants look at: none of it, the caller's own, another's."""
        if self.request is None:
            return [None]
        paths = {path for grant in self.grants for path in (grant.own, grant.has) if path}
        ids = [each for each in (own, str(uuid.uuid4())) if each]
        return [self.request(), *(_with(self.request(), path, id) for path in sorted(paths) for id in ids)]

    def expected(self, caller: Caller, request: Any) -> str:
        """What the contract says comes of it, up to whether the caller is let in."""
        return LET_IN if any(_fits(grant, caller, request) for grant in self.grants) else "ACCESS_DENIED"


def _methods() -> Iterator[Method]:
    for name, service in SERVICES.items():
        for method in service.methods:
            yield Method(
                name,
                f"/{service.full_name}/{method.name}",
                tuple(method.GetOptions().Extensions[access_pb2.allow].grants),
                GetMessageClass(method.input_type),
                streams=method.server_streaming,
            )
        for borrowed in service.GetOptions().Extensions[access_pb2.borrowed]:
            path = borrowed.method.replace("*", WILDCARDS.get(borrowed.method, ""))
            # Reflection takes a stream of requests. One is enough, and sent as one call sends it: where a stream is
            # refused while its client writes, grpc.aio says INTERNAL in place of what the server said.
            yield Method(name, path, tuple(borrowed.allow.grants), streams="Reflection" in path)


METHODS = list(_methods())
"""Every method of the three services, and of the standard ones that they offer beside them."""


@dataclass(frozen=True)
class Plane:
    """A real plane, and those who may call it."""

    home: Home
    at: PlaneFile
    callers: Mapping[str, Caller]

    def address(self, listener: str) -> str:
        """Of a service, or `enrolment`."""
        address: str = getattr(self.at, listener)
        return address

    @property
    def roots_pem(self) -> bytes:
        return self.callers["admin"].identity.bundle_pem

    def signed(self, path: str, lifetime: timedelta, clock: Clock = system_clock) -> LoadedIdentity:
        """An identity that the plane's own issuing authority signed, beside the ledger."""
        key = new_key()
        authority = Authority.load(self.home.issuing_authority)
        spiffe_id = SpiffeId(self.callers["admin"].identity.spiffe_id.trust_domain, path)
        identity = Identity(self.home.root.parent / f"signed-{uuid.uuid4()}")
        issued = issue(authority, key.public_key(), spiffe_id, lifetime, clock)
        identity.write(key_to_pem(key), issued.chain_pem, self.roots_pem)
        return identity.load()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A plane as `moorage up` starts it, and parties of every kind that enrolled with a token of it."""
    folder = tmp_path_factory.mktemp("access")
    with Up(folder / "home") as up:
        home = Home(up.home)
        yield Plane(home, up.plane, asyncio.run(_parties(up, home, folder)))


async def test_each_kind_of_caller_may_call_what_the_contract_grants_it_and_nothing_else(plane: Plane) -> None:
    counts: Counter[str] = Counter()
    for name, caller in plane.callers.items():
        async with _channels(plane, caller.identity) as channels:
            asked = [(method, request) for method in METHODS for request in method.requests(caller.own)]
            answers = await _answers(channels, asked)
        expected = [method.expected(caller, request) for method, request in asked]
        wrong = _differences(name, asked, answers, expected)
        assert wrong == []
        counts.update(expected)
    assert counts[LET_IN] > len(METHODS)
    assert counts["ACCESS_DENIED"] > len(METHODS)


async def test_without_a_certificate_no_service_is_reached_and_the_enrolment_listener_grants_what_is_for_anyone(
    plane: Plane,
) -> None:
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(open_pinned_channel(plane.address(name), plane.roots_pem))
            for name in (*SERVICES, "enrolment")
        }
        asked = [(method, request) for method in METHODS for request in method.requests("")]
        assert set(await _answers(channels, asked)) == {NO_HANDSHAKE}
        at_enrolment = dict.fromkeys(SERVICES, channels["enrolment"])
        answers = await _answers(at_enrolment, asked, at_once=FEW_AT_ONCE)
    for_anyone = [Grant(role=Role.ROLE_ANYONE)]
    expected = [
        LET_IN if method.service == "connector" and list(method.grants) == for_anyone else "CERTIFICATE_REQUIRED"
        for method, _ in asked
    ]
    assert _differences("nobody", asked, answers, expected) == []
    assert {method.path for (method, _), each in zip(asked, expected, strict=True) if each == LET_IN} == {
        f"/moorage.connector.v1.Connector/{name}" for name in ("Enroll", "Recover", "GetRevocationList")
    }


@pytest.mark.parametrize("root", ["foreign", "foreign, of the same trust domain"])
async def test_a_certificate_of_a_foreign_root_opens_no_connection(plane: Plane, root: str, tmp_path: Path) -> None:
    trust_domain = plane.callers["admin"].identity.spiffe_id.trust_domain
    foreign = Mint(tmp_path, trust_domain if "same" in root else "elsewhere.test").identity("admin", "admin").load()
    shown = Identity(tmp_path / "shown")
    shown.write(foreign.key_pem, foreign.chain_pem, plane.roots_pem)
    async with _channels(plane, shown.load()) as channels:
        await _all_are_refused(channels, NO_HANDSHAKE)


async def test_an_expired_certificate_opens_no_connection(plane: Plane) -> None:
    def a_while_ago() -> datetime:
        return system_clock() - timedelta(seconds=40)

    async with _channels(plane, plane.signed("/admin/late", timedelta(seconds=20), a_while_ago)) as channels:
        await _all_are_refused(channels, NO_HANDSHAKE)


async def test_a_certificate_that_expires_on_an_open_connection_opens_nothing_more(plane: Plane) -> None:
    identity = plane.signed("/admin/brief", SHORT)
    async with _channels(plane, identity) as channels:
        await asyncio.gather(*(asyncio.wait_for(each.channel_ready(), PATIENCE) for each in channels.values()))
        await eventually("the certificate's end", lambda: _is_over(identity))
        await _all_are_refused(channels, "CERTIFICATE_EXPIRED")


async def test_a_revoked_certificate_opens_nothing_on_open_connections_or_on_new_ones(
    plane: Plane, tmp_path: Path
) -> None:
    party = Party(plane.home.identity("admin"), plane.at)
    try:
        identity = Identity(tmp_path / "revoked")
        await _enrol(party, identity, IssueTokenRequest(admin="eve"))
        loaded = identity.load()
        async with _channels(plane, loaded) as channels:
            await asyncio.gather(*(asyncio.wait_for(each.channel_ready(), PATIENCE) for each in channels.values()))
            health = [(method, request) for method, request in _plain() if method.path.endswith("Health/Check")]
            assert set(await _answers(channels, health)) == {LET_IN}
            began = time.monotonic()
            await party.connector.RevokeCertificate(
                RevokeCertificateRequest(
                    serial_number=loaded.serial, reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
                )
            )

            async def all_refuse() -> bool:
                return set(await _answers(channels, health)) == {"CERTIFICATE_REVOKED"}

            await eventually("all services refuse", all_refuse)
            assert time.monotonic() - began < 1.0
            await _all_are_refused(channels, "CERTIFICATE_REVOKED")
        async with _channels(plane, loaded) as anew:
            await _all_are_refused(anew, "CERTIFICATE_REVOKED")
    finally:
        await party.close()


async def _parties(up: Up, home: Home, folder: Path) -> dict[str, Caller]:
    """One of every kind."""
    services = {
        "admin": Role.ROLE_ADMIN,
        "director": Role.ROLE_DIRECTOR,
        "connector": Role.ROLE_CONNECTOR,
        "provisioner": Role.ROLE_PROVISIONER,
    }
    callers = {name: Caller(Identity(home.identity(name)).load(), role) for name, role in services.items()}
    async with up.party() as admin:
        created = await admin.director.CreateApplication(
            CreateApplicationRequest(application=Application(name="orders"))
        )
        application_id = created.application.application_id
        runtime = await admin.director.CreateRuntime(CreateRuntimeRequest(runtime=Runtime(name="edge")))
        runtime_id = runtime.runtime.runtime_id
        for name, role, own, wanted in (
            ("viewer", Role.ROLE_VIEWER, "", IssueTokenRequest(viewer="vic")),
            ("application", Role.ROLE_APPLICATION, application_id, IssueTokenRequest(application_id=application_id)),
            ("runtime", Role.ROLE_RUNTIME, runtime_id, IssueTokenRequest(runtime_id=runtime_id)),
        ):
            identity = Identity(folder / name)
            await _enrol(admin, identity, wanted)
            callers[name] = Caller(identity.load(), role, own)
    return callers


async def _enrol(admin: Party, identity: Identity, wanted: IssueTokenRequest) -> None:
    token = (await admin.connector.IssueToken(wanted)).token
    await enrol(OneTimeToken.decode(token), identity)


@asynccontextmanager
async def _channels(plane: Plane, identity: LoadedIdentity) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(open_channel(plane.address(name), identity)) for name in SERVICES}


Asked = list[tuple[Method, Any]]


def _plain() -> Asked:
    """Every method, with a request that says nothing."""
    return [(method, method.request() if method.request else None) for method in METHODS]


async def _answers(channels: Mapping[str, grpc.aio.Channel], asked: Asked, at_once: int = AT_ONCE) -> list[str]:
    """What came of each call, up to whether the caller was let in."""
    turns = asyncio.Semaphore(at_once)

    async def answer(method: Method, request: Any) -> str:
        async with turns:
            return await _answer(channels[method.service], method, request)

    return list(await asyncio.gather(*(answer(*each) for each in asked)))


async def _all_are_refused(channels: Mapping[str, grpc.aio.Channel], reason: str) -> None:
    asked = _plain()
    answers = await _answers(channels, asked)
    assert _differences("whoever it is", asked, answers, [reason] * len(asked)) == []


async def _answer(channel: Any, method: Method, request: Any) -> str:
    content = request.SerializeToString() if request is not None else b""
    try:
        if method.streams:
            call = channel.unary_stream(method.path)(content, timeout=PATIENCE)
            try:
                async with asyncio.timeout(SILENCE):
                    await call.read()
            finally:
                call.cancel()
        else:
            await channel.unary_unary(method.path)(content, timeout=PATIENCE)
    except TimeoutError:
        return LET_IN
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        reason = problem.reason or problem.code.name
        return reason if reason in GATE else LET_IN
    return LET_IN


def _differences(caller: str, asked: Asked, answers: list[str], expected: list[str]) -> list[str]:
    return [
        f"{caller}: {method.path}({str(request).strip()}) is {answer} and not {wanted}"
        for (method, request), answer, wanted in zip(asked, answers, expected, strict=True)
        if answer != wanted
    ]


def _fits(grant: Grant, caller: Caller, request: Any) -> bool:
    """The rules of `moorage.access.v1`, read once more than by those who enforce them."""
    role = grant.role in (Role.ROLE_ANYONE, Role.ROLE_PARTY, caller.role)
    own = not grant.own or (caller.own != "" and _at(request, grant.own) == caller.own)
    return role and own and (not grant.has or _at(request, grant.has) != "")


def _at(message: Any, path: str) -> Any:
    for name in path.split("."):
        message = getattr(message, name)
    return message


def _with(message: Any, path: str, value: str) -> Any:
    *inner, last = path.split(".")
    setattr(_at(message, ".".join(inner)) if inner else message, last, value)
    return message


async def _is_over(identity: LoadedIdentity) -> bool:
    return datetime.now(UTC) > identity.not_after

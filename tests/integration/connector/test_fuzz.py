"""Whatever a party or a stranger sends, the Connector answers it, from its catalogue, and goes on as before."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from random import Random, SystemRandom
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from moorage.access.v1.access_pb2 import Role
from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest
from moorage.connector.v1.identity_pb2 import RestoreIdentityRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.keys import new_key
from certs.request import make_csr
from mesh.channel import open_pinned_channel
from mesh.errors import Problem
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane
from tests.support.fuzz import Drawn, Draws, Facts, Party
from tests.support.identities import TRUST_DOMAIN

SERVICE = connector_pb2.DESCRIPTOR.services_by_name["Connector"]
SEED = 5
AT_ONCE = 8
STRANGERS_AT_ONCE = 2
ANSWER = 60.0
"""Seconds in which each request is answered, on a machine with much else to do."""

FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED}
KEYS = 50

OWN = {"application_id": APPLICATION_ID, "runtime_id": RUNTIME_ID}
STRANGER = ("", "")
Name = tuple[str, str]
"""Of a party: its kind and what it is called; `STRANGER` of those who show no certificate."""

LARGEST_OF_STRANGERS = 1024 * 1024
"""Bytes: what is larger than twice as much the listener for enrolment does not even read."""


@pytest.fixture
async def plane(stopped_plane: Plane) -> Plane:
    """One that lets everybody ask as often as they like, and recovers what has expired."""
    stopped_plane.settings |= {"enrolment_address_rate": "0", "identity_rate": "0", "recovery_window": "3600"}
    await stopped_plane.start_director()
    await stopped_plane.start()
    return stopped_plane


@pytest.mark.timeout(300)
async def test_no_request_is_a_fault_or_hangs(plane: Plane) -> None:
    await Fuzz(plane, SEED).run(2_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_no_request_is_a_fault_or_hangs_in_a_long_run(plane: Plane) -> None:
    await Fuzz(plane, SystemRandom().getrandbits(32)).run(50_000)


class ConnectorDraws(Draws):
    """Draws requests that name tokens, certificates and identities that there are, and keys that can be certified."""

    def __init__(self, random: Random) -> None:
        super().__init__(SERVICE, random)
        self._csrs = [make_csr(new_key()) for _ in range(KEYS)]
        self._seen: dict[str, deque[str]] = {}

    def _note(self, message: Message) -> Facts:
        for name in ("token", "serial_number", "certificate_pem"):
            if (value := getattr(message, name, "")) and isinstance(value, str):
                self._seen.setdefault(name, deque(maxlen=KEYS)).append(value)
        return super()._note(message)

    def _bytes(self) -> bytes:
        return self._random.choice(self._csrs)

    def _text(self, each: FieldDescriptor, resource: Descriptor | None) -> str:
        seen = self._seen.get(each.name.removesuffix("s"))
        if seen and self._random.random() < 0.8:
            return self._random.choice(seen)
        name = f"n{self._random.randrange(20)}"
        plain: Mapping[str, Sequence[str]] = {
            "admin": (name,),
            "viewer": (name,),
            "service": ("director", "connector", "provisioner"),
            "dns_names": (f"{name}.example",),
            "ip_addresses": (f"192.0.2.{self._random.randrange(20)}", "2001:DB8::1"),
            "serial_number": ("0a",),
            "serial_numbers": ("0a",),
            "authority_sha256": ("0a" * 32,),
            "certificate_pem": ("none",),
            "note": ("", "why not"),
        }
        if each.name in plain:
            return self._random.choice(plain[each.name])
        if each.name == "spiffe_id" and (known := self._known_id(each.name)) is None:
            return f"spiffe://{TRUST_DOMAIN}/{self._random.choice(['admin', 'viewer'])}/{name}"
        return known if each.name == "spiffe_id" and known else super()._text(each, resource)


class Fuzz:
    """Sends random requests of several parties, and of strangers, to a Connector, many at once."""

    def __init__(self, plane: Plane, seed: int) -> None:
        self._plane = plane
        self._seed = seed
        self._random = Random(seed)
        self._draws = ConnectorDraws(self._random)
        self._strangers = open_pinned_channel(plane.settings["enrolment_address"], plane.mint.root.chain_pem)
        self._few = asyncio.Semaphore(STRANGERS_AT_ONCE)
        self._answers: Counter[tuple[str, str]] = Counter()
        self._operator: ConnectorStub = plane.connector(plane.mint.identity("admin", "operator"))
        self._parties = [
            (10, Party(Role.ROLE_ADMIN, OWN), ("admin", "ann")),
            (2, Party(Role.ROLE_VIEWER), ("viewer", "vic")),
            (2, Party(Role.ROLE_DIRECTOR, OWN), ("service", "director")),
            (1, Party(Role.ROLE_PROVISIONER, OWN), ("service", "provisioner")),
            (1, Party(Role.ROLE_CONNECTOR), ("service", "connector")),
            (2, Party(Role.ROLE_PARTY), ("viewer", "eve")),
            (5, Party(Role.ROLE_ANYONE), STRANGER),
        ]
        self._channels = {name: self._channel(name) for _, _, name in self._parties}
        self._restoring = asyncio.Lock()

    async def run(self, requests: int) -> None:
        """Send so many; then look what has become of the Connector."""
        waiting = iter(range(requests))

        async def some() -> None:
            for _ in waiting:
                await self._one()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(some())
            await self._serves()
        finally:
            print(f"seed {self._seed}: {json.dumps(self._told(), indent=1)}")
            await self._strangers.close()
        assert {method for method, _ in self._answers} == {method.name for method in SERVICE.methods}
        assert sum(count for (_, answer), count in self._answers.items() if answer == "OK") > requests / 10

    def _channel(self, name: Name) -> grpc.aio.Channel:
        return self._strangers if name == STRANGER else self._plane.channel(self._plane.mint.identity(*name)).channel

    async def _one(self) -> None:
        weights = [weight for weight, _, _ in self._parties]
        [(_, party, name)] = self._random.choices(self._parties, weights)
        channel = self._channels[name]
        drawn = self._draws.draw(party)
        try:
            if channel is self._strangers:
                async with self._few:
                    answer = await _answer(channel, drawn._replace(content=drawn.content[:LARGEST_OF_STRANGERS]))
            else:
                answer = await _answer(channel, drawn)
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            known = problem.as_refusal()
            what = f"seed {self._seed}, as {party}: {drawn.method.name} {drawn.content[:2000]!r}: {problem}"
            assert known is not None, what
            assert known.code == problem.code, what
            assert problem.code not in FAULTS, f"{what}\n{self._plane.log.read_text()[-5000:]}"
            self._answers[drawn.method.name, problem.reason] += 1
            if problem.is_reason(Reason.REASON_CERTIFICATE_REVOKED):
                await self._restore(name, channel)
        else:
            self._answers[drawn.method.name, "OK"] += 1
            self._draws.learn(drawn, answer)

    async def _restore(self, name: Name, channel: grpc.aio.Channel) -> None:
        """Give a party another certificate. One of them may revoke another's, or its own, and all would soon be out."""
        async with self._restoring:
            if self._channels[name] is channel:
                kind, of_kind = name
                request = RestoreIdentityRequest(spiffe_id=f"spiffe://{TRUST_DOMAIN}/{kind}/{of_kind}")
                await self._operator.RestoreIdentity(request, timeout=ANSWER)
                self._channels[name] = self._channel(name)

    async def _serves(self) -> None:
        assert self._plane.process
        assert self._plane.process.returncode is None
        assert '"level": "error"' not in self._plane.log.read_text()
        await self._operator.GetTrustBundle(GetTrustBundleRequest(), timeout=ANSWER)

    def _told(self) -> dict[str, dict[str, int]]:
        told: dict[str, dict[str, int]] = {}
        for (method, answer), count in sorted(self._answers.items()):
            told.setdefault(method, {})[answer] = count
        return told


async def _answer(channel: grpc.aio.Channel, drawn: Drawn) -> bytes:
    """The answer to a unary call, or the first message of a stream, which is then closed."""
    path = f"/{SERVICE.full_name}/{drawn.method.name}"
    if not drawn.method.server_streaming:
        unary: Any = channel.unary_unary(path)
        answer: bytes = await unary(drawn.content, timeout=ANSWER)
        return answer
    stream: Any = channel.unary_stream(path)
    call = stream(drawn.content, timeout=ANSWER)
    async for message in call:
        call.cancel()
        first: bytes = message
        return first
    raise AssertionError(f"{path} ended without a message")

"""Several real Connectors on one PostgreSQL with one issuing authority, and the Director's double beside them."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, IssuedIdentity, RenewRequest
from moorage.connector.v1.token_pb2 import IssueTokenRequest

from certs.identity import Identity
from certs.keys import key_to_pem, new_key
from certs.request import make_csr
from tests.integration.connector.plane import RUNTIME_ID, DirectorDouble, Plane
from tests.support.identities import Mint
from tests.support.postgresql import PostgresqlServer

PATIENCE = 20.0
"""Seconds that one call has; none of them is to take so long."""


class Connectors:
    """Connectors that share their database, the issuing authority and a trust domain; each has a folder below `home`.

    `settings` are for all of them. With `director_address` among them that Director is asked, and otherwise a double;
    `mint` is the trust domain of that Director.
    """

    def __init__(
        self, home: Path, server: PostgresqlServer, count: int = 2, mint: Mint | None = None, **settings: str
    ) -> None:
        self.planes: list[Plane] = []
        self._server = server
        self.database = settings.pop("database", "") or server.url(server.create_database())
        for number in range(count):
            folder = home / f"connector-{number}"
            folder.mkdir()
            self.planes.append(Plane(folder))
        first = self.planes[0]
        self._double_serves = "director_address" not in settings
        self.mint = mint or first.mint
        self.mint.issuing.save(home / "issuing")
        self.admin = self.mint.identity("admin", "ann")
        first.director_identity = self.mint.identity("service", "director")
        for number, plane in enumerate(self.planes):
            plane.mint, plane.admin = self.mint, self.admin
            plane.settings |= {
                "identity": str(self.mint.identity("service", "connector").folder),
                "issuing_authority": str(home / "issuing"),
                "database": self.database,
                "director_address": first.settings["director_address"],
                "instance_id": f"connector-{number}",
                **settings,
            }
        self._enrolments: list[grpc.aio.Channel] = []

    @property
    def director(self) -> DirectorDouble:
        """The double that says which parties exist."""
        return self.planes[0].director

    async def start(self) -> None:
        """Start the Director's double, then all of them at once."""
        if self._double_serves:
            await self.planes[0].start_director()
        await asyncio.gather(*(each.start() for each in self.planes))

    async def close(self) -> None:
        """Kill those that run."""
        await asyncio.gather(*(each.close() for each in self._enrolments))
        await asyncio.gather(*(each.close() for each in self.planes))

    async def kill(self, number: int) -> None:
        """End one of them with SIGKILL."""
        await self.planes[number].end(signal.SIGKILL)

    async def stop(self, number: int) -> int:
        """End one of them with SIGTERM; its exit code."""
        return await self.planes[number].end(signal.SIGTERM)

    def log(self, number: int) -> str:
        """Everything that one of them wrote to its output, over all its starts."""
        return self.planes[number].log.read_text()

    def connector(self, number: int, identity: Identity | None = None) -> ConnectorStub:
        """A stub for the mTLS listener of one of them, as the administrator unless told otherwise."""
        return self.planes[number].connector(identity)

    def newcomer(self, number: int) -> ConnectorStub:
        """A stub for the enrolment listener of one of them, over a connection of its own and without a certificate."""
        credentials = grpc.ssl_channel_credentials(self.mint.root.chain_pem)
        channel = grpc.aio.secure_channel(
            self.planes[number].settings["enrolment_address"],
            credentials,
            [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)],
        )
        self._enrolments.append(channel)
        return ConnectorStub(channel)

    async def token(self, number: int = 0, **party: Any) -> str:
        """The text of a new token, by one of them: for the Runtime unless `party` says otherwise."""
        request = IssueTokenRequest(**(party or {"runtime_id": RUNTIME_ID}))
        return (await self.connector(number).IssueToken(request, timeout=PATIENCE, wait_for_ready=True)).token

    async def enrol(self, number: int, token: str, folder: Path) -> Identity:
        """Enrol by one of them with this token; the identity, written to `folder`."""
        key = new_key()
        request = EnrollRequest(token=token, csr=make_csr(key))
        answer = await self.newcomer(number).Enroll(request, timeout=PATIENCE, wait_for_ready=True)
        return _written(folder, key, answer.identity)

    async def renew(self, number: int, identity: Identity, folder: Path) -> Identity:
        """Renew an identity by one of them; the new one, written to `folder`."""
        key = new_key()
        answer = await self.connector(number, identity).Renew(RenewRequest(csr=make_csr(key)), timeout=PATIENCE)
        return _written(folder, key, answer.identity)

    async def health(self, number: int, service: str = "moorage.connector.v1.Connector") -> str:
        """What one of them says of a service, or of itself by the empty name."""
        stub: Any = self.planes[number].channel().stub(HealthStub)
        answer = await stub.Check(HealthCheckRequest(service=service), timeout=PATIENCE)
        return HealthCheckResponse.ServingStatus.Name(answer.status)

    def sql(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        """The rows that a statement on their database comes to; none for one that gives none."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            done = connection.execute(statement.encode(), parameters or None)
            return done.fetchall() if done.description else []


def _written(folder: Path, key: ec.EllipticCurvePrivateKey, issued: IssuedIdentity) -> Identity:
    identity = Identity(folder)
    identity.write(key_to_pem(key), issued.certificate_chain_pem.encode(), issued.trust_bundle_pem.encode())
    return identity

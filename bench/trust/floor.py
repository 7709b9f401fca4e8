"""The floor: a bare grpc.aio server with nothing around it, in a process of its own.

`python -m bench.trust.floor WHAT IDENTITY_FOLDER [--authority FOLDER] [--database URL]` prints its port, then serves
until its standard input ends.

- `enrol` asks for no certificate, and answers `Enroll` with a certificate for the key of the request
- `renew` asks for one, and answers `Renew` the same way
- `streams` asks for one, and ends every stream of `Watch` when PostgreSQL notifies it
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mesh  # noqa: F401 - before grpc, for the same TLS as the plane has

import grpc  # isort: skip
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from moorage.connector.v1.enrolment_pb2 import (
    EnrollRequest,
    EnrollResponse,
    IssuedIdentity,
    RenewRequest,
    RenewResponse,
)
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse

from certs.authority import Authority, certificates_to_pem
from certs.identity import Identity
from certs.request import checked_public_key
from mesh.server import OPTIONS

SERVICE = "bench.trust.Floor"
CHANNEL = "floor"
"""Where PostgreSQL notifies it."""

_NAME = "spiffe://moorage.test/runtime/22222222-2222-4222-8222-222222222222"
_EXTENSIONS: tuple[tuple[x509.ExtensionType, bool], ...] = (
    (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_NAME)]), True),
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (x509.KeyUsage(True, False, False, False, False, False, False, False, False), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
)


class Floor:
    """The handlers."""

    def __init__(self, authority: Authority | None) -> None:
        self._authority = authority
        self._chain = certificates_to_pem((authority.certificate,)).decode() if authority else ""
        self._ending: set[asyncio.Event] = set()

    async def enroll(self, request: EnrollRequest, _: Any) -> EnrollResponse:
        """Check the request, and sign."""
        return EnrollResponse(identity=self._certified(request.csr))

    async def renew(self, request: RenewRequest, _: Any) -> RenewResponse:
        """Check the request, and sign."""
        return RenewResponse(identity=self._certified(request.csr))

    async def watch(self, _: WatchConfigurationRequest, context: Any) -> None:
        """Send a message, then nothing until it ends."""
        end = asyncio.Event()
        self._ending.add(end)
        await context.write(WatchConfigurationResponse(revision=0))
        await end.wait()
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "revoked")

    def cut(self) -> None:
        """End every stream."""
        for each in self._ending:
            each.set()
        self._ending.clear()

    def _certified(self, csr: bytes) -> IssuedIdentity:
        assert self._authority
        now = datetime.now(UTC)
        key = checked_public_key(csr)
        builder = (
            x509.CertificateBuilder()
            .serial_number(x509.random_serial_number())
            .issuer_name(self._authority.certificate.subject)
            .subject_name(x509.Name([]))
            .public_key(key)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
        )
        for extension, critical in _EXTENSIONS:
            builder = builder.add_extension(extension, critical)
        leaf = builder.sign(self._authority.key, hashes.SHA256())
        return IssuedIdentity(
            spiffe_id=_NAME,
            certificate_chain_pem=leaf.public_bytes(Encoding.PEM).decode() + self._chain,
        )


async def serve(what: str, folder: Path, authority: Authority | None, database: str) -> None:
    """Serve with the identity in `folder` until standard input ends."""
    identity = Identity(folder).load()
    floor: Any = Floor(authority)
    handlers: Any = {
        "Enroll": grpc.unary_unary_rpc_method_handler(
            floor.enroll, EnrollRequest.FromString, EnrollResponse.SerializeToString
        ),
        "Renew": grpc.unary_unary_rpc_method_handler(
            floor.renew, RenewRequest.FromString, RenewResponse.SerializeToString
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            floor.watch, WatchConfigurationRequest.FromString, WatchConfigurationResponse.SerializeToString
        ),
    }
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if what == "enrol":
        # As the enrolment listener does: the whole chain, root included, for whoever has but a pin.
        chain = identity.chain_pem + identity.bundle_pem
        credentials = grpc.ssl_server_credentials([(identity.key_pem, chain)])
    else:
        chain = identity.chain_pem
        credentials = grpc.ssl_server_credentials(
            [(identity.key_pem, chain)], root_certificates=identity.bundle_pem, require_client_auth=True
        )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    listening = asyncio.create_task(_listen(database, floor)) if database else None
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    if listening:
        listening.cancel()
    await server.stop(0)


async def _listen(database: str, floor: Floor) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}".encode())
        async for _ in connection.notifies():
            floor.cut()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(prog="bench.trust.floor")
    parser.add_argument("what", choices=["enrol", "renew", "streams"])
    parser.add_argument("identity", type=Path)
    parser.add_argument("--authority", type=Path)
    parser.add_argument("--database", default="")
    chosen = parser.parse_args()
    authority = Authority.load(chosen.authority) if chosen.authority else None
    asyncio.run(serve(chosen.what, chosen.identity, authority, chosen.database))


if __name__ == "__main__":
    main()

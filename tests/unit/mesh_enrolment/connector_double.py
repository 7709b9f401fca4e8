"""A Connector without a network: it signs what it is asked to, or fails as it is told."""

from collections.abc import Callable
from datetime import timedelta

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.connector.v1.enrolment_pb2 import IssuedIdentity, PlaneAddresses, RenewRequest, RenewResponse

from certs.issue import issue
from certs.keys import public_key_sha256
from certs.request import checked_public_key
from certs.spiffe import SpiffeId
from tests.support.identities import Mint

ADDRESSES = PlaneAddresses(director="plane.test:7443", connector="plane.test:7444")
UNAVAILABLE = grpc.aio.AioRpcError(
    grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "connection refused"
)


class ConnectorDouble:
    """Renews `spiffe_id` for `lifetime`, each of `failures` raised first, in turn; `meanwhile` is called each time."""

    def __init__(self, mint: Mint, spiffe_id: SpiffeId, lifetime: timedelta) -> None:
        self.mint = mint
        self.spiffe_id = spiffe_id
        self.lifetime = lifetime
        self.failures: list[Exception] = []
        self.keys: list[bytes] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def renew(self, request: RenewRequest) -> RenewResponse:
        public_key = checked_public_key(request.csr)
        self.keys.append(public_key_sha256(public_key))
        self.meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        return RenewResponse(
            identity=issued_identity(self.mint, public_key, self.spiffe_id, self.lifetime), addresses=ADDRESSES
        )


def issued_identity(
    mint: Mint, public_key: ec.EllipticCurvePublicKey, spiffe_id: SpiffeId, lifetime: timedelta = timedelta(days=1)
) -> IssuedIdentity:
    issued = issue(mint.issuing, public_key, spiffe_id, lifetime, mint.clock)
    return IssuedIdentity(
        spiffe_id=str(spiffe_id),
        certificate_chain_pem=issued.chain_pem.decode(),
        trust_bundle_pem=mint.root.chain_pem.decode(),
        serial_number=issued.serial_hex,
    )

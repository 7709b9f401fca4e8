"""The Connector's gRPC shape: message in, one call, message out."""

import uuid
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography import x509
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.connector_pb2_grpc import ConnectorServicer
from moorage.connector.v1.enrolment_pb2 import (
    EnrollRequest,
    EnrollResponse,
    GetTrustBundleRequest,
    GetTrustBundleResponse,
    IssuedIdentity,
    PlaneAddresses,
    RenewRequest,
    RenewResponse,
)
from moorage.connector.v1.token_pb2 import IssueTokenRequest, IssueTokenResponse

from certs.spiffe import SpiffeId
from connector.authority import IssuingAuthority
from connector.enrolment import Enrolment
from connector.ledger import Issued
from connector.renewal import Renewal
from connector.store import Origin
from connector.tokens import TokenIssuer
from mesh.call import current_address, current_caller, current_request_id

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class ConnectorService(ConnectorServicer):
    """Serves `moorage.connector.v1.Connector` on both listeners."""

    tokens: TokenIssuer
    enrolment: Enrolment
    renewal: Renewal
    authority: IssuingAuthority
    addresses: PlaneAddresses

    async def IssueToken(self, request: IssueTokenRequest, context: Context) -> IssueTokenResponse:
        """Issue a one-time token; see `connector.tokens`."""
        ttl = request.ttl.ToTimedelta() if request.HasField("ttl") else None
        origin = _origin(str(current_caller().spiffe_id))
        issued = await self.tokens.issue(self._party(request), ttl, origin)
        expire_time = Timestamp()
        expire_time.FromDatetime(issued.expire_time)
        return IssueTokenResponse(
            token=issued.text,
            token_id=issued.token_id,
            expire_time=expire_time,
            spiffe_id=str(issued.spiffe_id),
        )

    async def Enroll(self, request: EnrollRequest, context: Context) -> EnrollResponse:
        """Turn a token into an identity; see `connector.enrolment`."""
        issued = await self.enrolment.enrol(request.token, request.csr, _origin(""))
        return EnrollResponse(identity=self._identity(issued), addresses=self.addresses)

    async def Renew(self, request: RenewRequest, context: Context) -> RenewResponse:
        """Give the caller a new certificate; see `connector.renewal`."""
        caller = current_caller()
        presented = x509.load_pem_x509_certificate(next(iter(context.auth_context()["x509_pem_cert"])))
        issued = await self.renewal.renew(caller, presented, request.csr, _origin(str(caller.spiffe_id)))
        return RenewResponse(identity=self._identity(issued), addresses=self.addresses)

    async def GetTrustBundle(
        self,
        request: GetTrustBundleRequest,
        context: Context,
    ) -> GetTrustBundleResponse:
        """Answer with the roots to trust."""
        return GetTrustBundleResponse(
            trust_domain=self.authority.trust_domain,
            trust_bundle_pem=self.authority.trust_bundle_pem.decode(),
            root_sha256=[pin.hex() for pin in self.authority.root_pins],
        )

    def _party(self, request: IssueTokenRequest) -> SpiffeId:
        # The contract takes UUIDs in either case; a SPIFFE ID has only one spelling.
        trust_domain = self.authority.trust_domain
        if request.WhichOneof("party") == "application_id":
            return SpiffeId.application(trust_domain, uuid.UUID(request.application_id))
        return SpiffeId.runtime(trust_domain, uuid.UUID(request.runtime_id))

    def _identity(self, issued: Issued) -> IssuedIdentity:
        not_before, not_after = Timestamp(), Timestamp()
        not_before.FromDatetime(issued.entry.not_before)
        not_after.FromDatetime(issued.entry.not_after)
        return IssuedIdentity(
            spiffe_id=issued.entry.spiffe_id,
            certificate_chain_pem=issued.chain_pem.decode(),
            trust_bundle_pem=self.authority.trust_bundle_pem.decode(),
            serial_number=issued.entry.serial_number,
            not_before=not_before,
            not_after=not_after,
        )


def _origin(actor: str) -> Origin:
    return Origin(actor, current_address(), current_request_id())

"""The Connector's calls by which a party gets a certificate."""

from datetime import datetime

from cryptography import x509
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.enrolment_pb2 import (
    EnrollRequest,
    EnrollResponse,
    GetTrustBundleRequest,
    GetTrustBundleResponse,
    IssuedIdentity,
    RecoverRequest,
    RecoverResponse,
    RenewRequest,
    RenewResponse,
)

from connector.ledger import Issued
from connector.service.calls import Calls, Context, callers_origin, newcomers_origin
from mesh.call import current_caller


class EnrolmentCalls(Calls):
    """Calls by which a party gets a certificate, and the roots to trust."""

    async def Enroll(self, request: EnrollRequest, context: Context) -> EnrollResponse:
        """Turn a token into an identity; see `connector.enrolment`."""
        issued = await self._parts.enrolment.enrol(request.token, request.csr, newcomers_origin())
        return EnrollResponse(identity=self._identity(issued), addresses=self._parts.addresses)

    async def Renew(self, request: RenewRequest, context: Context) -> RenewResponse:
        """Give the caller a new certificate; see `connector.renewal`."""

        def presented() -> x509.Certificate:
            return x509.load_pem_x509_certificate(next(iter(context.auth_context()["x509_pem_cert"])))

        issued = await self._parts.renewal.renew(current_caller(), presented, request.csr, callers_origin())
        return RenewResponse(identity=self._identity(issued), addresses=self._parts.addresses)

    async def Recover(self, request: RecoverRequest, context: Context) -> RecoverResponse:
        """Give a party whose certificate expired another one; see `connector.recovery`."""
        issued = await self._parts.recovery.recover(request.certificate_pem, request.csr, newcomers_origin())
        return RecoverResponse(identity=self._identity(issued), addresses=self._parts.addresses)

    async def GetTrustBundle(self, request: GetTrustBundleRequest, context: Context) -> GetTrustBundleResponse:
        """Answer with the roots to trust."""
        authority = self._parts.authority
        return GetTrustBundleResponse(
            trust_domain=authority.trust_domain,
            trust_bundle_pem=authority.trust_bundle_pem.decode(),
            root_sha256=[pin.hex() for pin in authority.root_pins],
        )

    def _identity(self, issued: Issued) -> IssuedIdentity:
        return IssuedIdentity(
            spiffe_id=issued.entry.spiffe_id,
            certificate_chain_pem=issued.chain_pem.decode(),
            trust_bundle_pem=self._parts.authority.trust_bundle_pem.decode(),
            serial_number=issued.entry.serial_number,
            not_before=_timestamp(issued.entry.not_before),
            not_after=_timestamp(issued.entry.not_after),
        )


def _timestamp(at: datetime) -> Timestamp:
    # A certificate begins and ends on a whole second.
    return Timestamp(seconds=int(at.timestamp()))

"""The Connector's calls that concern the ledger of certificates."""

from moorage.connector.v1.certificate_pb2 import (
    GetCertificateRequest,
    GetCertificateResponse,
    ListCertificatesRequest,
    ListCertificatesResponse,
    ReportCertificateUseRequest,
    ReportCertificateUseResponse,
)

from connector.certificates import get_certificate, list_certificates
from connector.service.calls import Calls, Context
from connector.uses import record


class CertificateCalls(Calls):
    """Calls that concern the ledger of certificates."""

    async def GetCertificate(self, request: GetCertificateRequest, context: Context) -> GetCertificateResponse:
        """Read a certificate; see `connector.certificates`."""
        return await self._database.read(get_certificate, request, self._parts.clock())

    async def ListCertificates(self, request: ListCertificatesRequest, context: Context) -> ListCertificatesResponse:
        """Read a page of certificates; see `connector.certificates`."""
        return await self._database.read(list_certificates, request, self._parts.clock())

    async def ReportCertificateUse(
        self, request: ReportCertificateUseRequest, context: Context
    ) -> ReportCertificateUseResponse:
        """Note what a service saw in use; see `connector.uses`."""
        await self._database.write(record, set(request.serial_numbers), self._parts.clock())
        return ReportCertificateUseResponse()

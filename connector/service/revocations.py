"""The Connector's calls by which a certificate ends, and those that tell what no longer counts."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

from moorage.connector.v1.certificate_pb2 import RevokeCertificateRequest, RevokeCertificateResponse
from moorage.connector.v1.revocation_pb2 import (
    GetRevocationListRequest,
    GetRevocationListResponse,
    WatchRevocationsRequest,
    WatchRevocationsResponse,
)

from connector.certificates import read_certificate
from connector.revocations import revoke_certificates
from connector.service.calls import Calls, Context, callers_origin
from connector.store import Origin, Transaction
from mesh.call import current_address


class RevocationCalls(Calls):
    """Calls by which a certificate ends, and that tell what no longer counts."""

    async def RevokeCertificate(self, request: RevokeCertificateRequest, context: Context) -> RevokeCertificateResponse:
        """End a certificate before its time; see `connector.revocations`."""
        return await self._database.write(_revoke, request, self._parts.clock(), callers_origin())

    async def WatchRevocations(
        self, request: WatchRevocationsRequest, context: Context
    ) -> AsyncGenerator[WatchRevocationsResponse, None]:
        """Stream the list to a service; see `connector.revocation_stream`."""
        resume = request.resume if request.HasField("resume") else None
        async with aclosing(self._parts.hub.watch(resume)) as messages:
            async for message in messages:
                yield message

    async def GetRevocationList(self, request: GetRevocationListRequest, context: Context) -> GetRevocationListResponse:
        """Read a certificate revocation list; see `connector.revocation_list`."""
        self._parts.limits.take("address", current_address())
        sha256 = bytes.fromhex(request.authority_sha256) if request.authority_sha256 else None
        return await self._parts.revocation_lists.fetch(sha256)


def _revoke(
    tx: Transaction, request: RevokeCertificateRequest, now: datetime, origin: Origin
) -> RevokeCertificateResponse:
    revoke_certificates(tx, origin, now, [request.serial_number], request.reason, request.note)
    return RevokeCertificateResponse(certificate=read_certificate(tx, request.serial_number, now))

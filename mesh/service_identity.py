"""A service's own certificate, renewed through the Connector as everybody's is, the Connector's own included."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import NoReturn

import grpc
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest, PlaneAddresses, RenewRequest, RenewResponse

from certs.identity import Identity, IdentityRefused, LoadedIdentity
from mesh import telemetry
from mesh.channel import LiveChannel
from mesh.renewal import LONGEST_NAP, IdentityExpired, RenewalLoop
from mesh.run import in_background

CALL_TIMEOUT = 10.0
"""Seconds that one call may take."""

_log = telemetry.logger("renewal")


def keep_renewed(identity: Identity, connector: LiveChannel, stack: AsyncExitStack) -> None:
    """Renew `identity`, which `connector` shows, in good time, until the stack unwinds.

    Listeners and channels take up what is in the folder by themselves. Where it can be renewed no more, the log says so
    time and again, until another identity is put into the folder.
    """
    in_background(stack, _kept(identity, connector))


async def _kept(identity: Identity, connector: LiveChannel) -> NoReturn:
    async def renew(request: RenewRequest) -> RenewResponse:
        return await connector.stub(ConnectorStub).Renew(request, timeout=CALL_TIMEOUT)

    async def use(_: LoadedIdentity, addresses: PlaneAddresses) -> None:
        # The first use of the new certificate ends the one before. What does not go well now will be used before long.
        with suppress(grpc.aio.AioRpcError):
            await connector.stub(ConnectorStub).GetTrustBundle(GetTrustBundleRequest(), timeout=CALL_TIMEOUT)

    while True:
        try:
            await RenewalLoop(identity, renew, use).run()
        except (IdentityExpired, IdentityRefused, OSError) as error:
            _log.error(
                "this service's certificate is not renewed any more",
                failure=str(error),
                mend=f"issue a token (`moorage token issue --service`), and `moorage pair` it into {identity.folder}; "
                "for the Connector, sign another identity as its first one was",
            )
        await asyncio.sleep(LONGEST_NAP.total_seconds())

"""Renewal of the identity that a command calls with: there is no process that lasts to do it in good time.

Whoever calls once in the last third of a certificate's life has a new one, and goes on with that.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cli.connection import Target
from cli.enrolment import keep_addresses
from cli.output import tell
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from certs.identity import LoadedIdentity

DUE = 2 / 3
"""After what part of a certificate's life a command renews it."""

RENEWED_WITHIN = timedelta(seconds=5)
"""How long a command tries, at most, before it goes on with the certificate that it has."""

_LOCK_FILE = "renewal.lock"
_LOOK_EVERY = 0.05


async def renew_if_due(target: Target) -> None:
    """Renew the identity of `target` where it is time, and keep where the services are now.

    What fails is told, and tried again by the next command. Raises `Stopped` (REFUSED) where its life is over.
    """
    from certs.clock import system_clock
    from certs.identity import Identity, IdentityRefused

    identity = Identity(target.identity_folder)
    try:
        if identity.load().lived(system_clock()) < DUE:
            return
        within = min(RENEWED_WITHIN, timedelta(seconds=target.timeout)).total_seconds()
        async with asyncio.timeout(within), _alone(target.identity_folder):
            if identity.load().lived(system_clock()) >= DUE:  # and no other command has renewed it meanwhile
                await _renew(target)
    except IdentityRefused:
        return  # the call itself will say so
    except TimeoutError:
        tell(f"the certificate in {target.identity_folder} was not renewed; the next command tries again")
    except OSError as error:
        tell(f"the certificate in {target.identity_folder} cannot be renewed: {error.strerror}")


async def _renew(target: Target) -> None:
    from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
    from moorage.connector.v1.enrolment_pb2 import PlaneAddresses, RenewRequest, RenewResponse

    from certs.identity import Identity
    from mesh.channel import LiveChannel
    from mesh.recovery import NotRecovered, recover
    from mesh.renewal import IdentityExpired, RenewalLoop
    from mesh.telemetry import configure_logging

    configure_logging("moorage", "error")
    identity = Identity(target.identity_folder)
    channel = LiveChannel(target.address("connector"), identity)
    done = asyncio.Event()

    async def renew(request: RenewRequest) -> RenewResponse:
        return await channel.stub(ConnectorStub).Renew(request, timeout=target.timeout)

    async def keep(_: "LoadedIdentity", addresses: PlaneAddresses) -> None:
        if target.identity is not None:  # a home has its plane.json
            await asyncio.to_thread(keep_addresses, target.identity, addresses)
        done.set()

    async def recovered() -> PlaneAddresses:
        try:
            address = target.address("enrolment")
        except Stopped as error:
            raise NotRecovered("it is not known where it could be recovered") from error
        return await recover(identity, address)

    loop = RenewalLoop(identity, renew, keep, recover=recovered)
    work = [asyncio.ensure_future(each) for each in (loop.run(), done.wait())]
    try:
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        if not done.is_set():
            work[0].result()
    except IdentityExpired as error:
        raise _ended(target, error) from error
    finally:
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await channel.close()


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    # Of two that renew at once by the same certificate, the plane takes the first one's answer for lost.
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _locked(descriptor):  # noqa: ASYNC110 - nobody tells when another process lets go
            await asyncio.sleep(_LOOK_EVERY)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ended(target: Target, error: Exception) -> Stopped:
    if target.identity is None:
        mend = "start the plane anew with `moorage up`, which makes another"
    else:
        mend = f"ask for a one-time token, and give it to `moorage login --name {target.identity.name} --replace`"
    return Stopped(Exit.REFUSED, f"{error}: {mend}")

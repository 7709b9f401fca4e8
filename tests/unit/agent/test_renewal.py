"""Renewal when the operator says so, and otherwise as the loop has it."""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

from moorage.connector.v1.enrolment_pb2 import IssuedIdentity, PlaneAddresses, RenewRequest, RenewResponse

from agent.renewal import Renewal
from certs.clock import system_clock
from certs.identity import LoadedIdentity
from certs.issue import issue
from certs.request import checked_public_key
from certs.spiffe import SpiffeId
from tests.support.identities import TRUST_DOMAIN, Mint

RUNTIME_ID = str(uuid.UUID(int=1))
LIFE = timedelta(hours=1)


async def test_a_certificate_is_renewed_each_time_the_operator_says_so(tmp_path: Path) -> None:
    mint, renewed = Mint(tmp_path), asyncio.Queue[LoadedIdentity]()
    identity = mint.identity("runtime", RUNTIME_ID, LIFE)
    serials = {identity.load().serial}

    async def renew(request: RenewRequest) -> RenewResponse:
        spiffe_id = SpiffeId.runtime(TRUST_DOMAIN, RUNTIME_ID)
        issued = issue(mint.issuing, checked_public_key(request.csr), spiffe_id, LIFE, system_clock)
        return RenewResponse(
            identity=IssuedIdentity(
                certificate_chain_pem=issued.chain_pem.decode(), trust_bundle_pem=mint.root.chain_pem.decode()
            )
        )

    async def on_renewed(loaded: LoadedIdentity, _: PlaneAddresses) -> None:
        renewed.put_nowait(loaded)

    renewal = Renewal(identity, renew, on_renewed, clock=system_clock)
    task = asyncio.create_task(renewal.run())
    for _ in range(3):
        renewal.now()
        serials.add((await renewed.get()).serial)
    task.cancel()
    await asyncio.wait((task,))
    assert len(serials) == 4
    assert identity.load().serial in serials
    assert renewed.empty()

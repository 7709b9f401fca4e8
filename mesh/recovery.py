"""Recovery, a party's side: whose certificate expired while it slept, or while the Connector was away, gets another.

The proof is the key that the expired certificate is for: no certificate is shown, since no listener would take it. The
Connector does so only within a window that its operator sets, and only while nothing else has become of the identity.
"""

import asyncio

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses, RecoverRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock, system_clock
from certs.identity import Identity
from certs.keys import key_from_pem
from certs.request import make_csr
from mesh import telemetry
from mesh.channel import open_pinned_channel
from mesh.enrolment import CALL_TIMEOUT, RETRIED, checked, trust_bundle
from mesh.errors import Problem

_log = telemetry.logger("recovery")


class NotRecovered(Exception):
    """The Connector does not recover the certificate: only a new one-time token helps now."""


async def recover(identity: Identity, address: str, clock: Clock = system_clock) -> PlaneAddresses:
    """Ask the enrolment listener at `address` once, and write what comes back to `identity`, for the same key.

    It is to be renewed at once, with a new key. Only the roots in `identity` are trusted.

    Raises `NotRecovered`; `grpc.aio.AioRpcError` for what may go well another time; and
    `mesh.enrolment.IssuedIdentityRefused`, `certs.identity.IdentityRefused`, `OSError`.
    """
    expired = await asyncio.to_thread(identity.load)
    key = key_from_pem(expired.key_pem, source=str(identity.folder))
    leaf = x509.load_pem_x509_certificate(expired.chain_pem)  # the first of the chain
    request = RecoverRequest(certificate_pem=leaf.public_bytes(Encoding.PEM).decode(), csr=make_csr(key))
    try:
        async with open_pinned_channel(address, expired.bundle_pem) as channel:
            response = await ConnectorStub(channel).Recover(request, timeout=CALL_TIMEOUT.total_seconds())
    except grpc.aio.AioRpcError as error:
        problem = Problem.of(error)
        if problem.code in RETRIED or problem.is_reason(Reason.REASON_RATE_LIMITED):
            raise
        raise NotRecovered(f"the Connector does not recover it: {problem.message}") from error
    issued = response.identity
    spiffe_id = checked(issued, key, trust_bundle(issued), clock())
    if spiffe_id != expired.spiffe_id:
        raise NotRecovered(f"the Connector sent a certificate for {spiffe_id}")
    await asyncio.to_thread(
        identity.write, expired.key_pem, issued.certificate_chain_pem.encode(), issued.trust_bundle_pem.encode()
    )
    _log.info("recovered", spiffe_id=str(spiffe_id), serial=issued.serial_number)
    return response.addresses

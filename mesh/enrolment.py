"""Enrolment, a newcomer's side: a one-time token becomes an identity on disk.

In this order, so that nothing is lost and nothing secret leaks: the key is written to disk; the listener's chain is
held against the token's pin; a connection is opened that trusts the pinned root alone; only then the token is sent;
what comes back is checked, then written. Whoever is interrupted starts again with the same token and the same key,
and the plane answers with the same certificate.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, EnrollResponse, IssuedIdentity, PlaneAddresses
from moorage.errors.v1.errors_pb2 import Reason

from certs.check import ChainRefused, SvidRefused, check_svid, verify_chain
from certs.clock import Clock, system_clock
from certs.identity import Identity
from certs.keys import key_to_pem, load_key, new_key, public_key_sha256, save_key
from certs.request import make_csr
from certs.spiffe import Kind, SpiffeId
from certs.token import OneTimeToken
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.channel import open_pinned_channel
from mesh.errors import Problem
from mesh.probe import ListenerUnreachable, pinned_root, read_chain

PENDING_KEY_FILE = "pending.key"
"""In the identity's folder from before the token is sent until the identity is written."""

ENROLMENT_TIMEOUT = timedelta(seconds=60)
PROBE_TIMEOUT = timedelta(seconds=5)
CALL_TIMEOUT = timedelta(seconds=10)

RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""What a newcomer's call may end with and go well another time."""

_log = telemetry.logger("enrolment")


class PlaneUnreachable(Exception):
    """The Connector gave no answer in time. The same token may be tried again."""


class IssuedIdentityRefused(Exception):
    """What the Connector sent is no identity for this key and from this plane; nothing was written."""


async def enrol(
    token: OneTimeToken,
    identity: Identity,
    *,
    expected_kind: Kind | None = None,
    timeout: timedelta = ENROLMENT_TIMEOUT,
    clock: Clock = system_clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Callable[[], float] = random.random,
) -> PlaneAddresses:
    """Get the identity that `token` stands for, write it to `identity`, and say where the plane's services are.

    `expected_kind` is what the caller can be, so that a Runtime's agent does not take an Application's identity.
    Tries again while the Connector does not answer, until `timeout`.

    Raises `mesh.probe.PinMismatch` before anything secret is sent; `PlaneUnreachable`; `IssuedIdentityRefused`;
    `grpc.aio.AioRpcError` for a refusal (`mesh.errors.Problem` reads it); `OSError` where the folder cannot be
    written.
    """
    key = await asyncio.to_thread(_pending_key, identity.folder)
    backoff = Backoff(timedelta(milliseconds=200), timedelta(seconds=5), random)
    request = EnrollRequest(token=token.encode(), csr=make_csr(key))
    response = await _answer(token, request, timeout, backoff, sleep)
    spiffe_id = checked(response.identity, key, _pinned(response.identity, token), clock())
    if expected_kind and spiffe_id.kind is not expected_kind:
        raise IssuedIdentityRefused(f"the token is for {spiffe_id}, and this is not {expected_kind}")
    await asyncio.to_thread(_keep, identity, key, response.identity)
    _log.info("enrolled", spiffe_id=str(spiffe_id), serial=response.identity.serial_number)
    return response.addresses


def checked(
    issued: IssuedIdentity,
    key: ec.EllipticCurvePrivateKey,
    roots: Sequence[x509.Certificate],
    at: datetime,
) -> SpiffeId:
    """Whom the identity names, once it is sure that it is for `key` and leads to one of `roots`.

    Raises `IssuedIdentityRefused`.
    """
    try:
        leaf, *intermediates = x509.load_pem_x509_certificates(issued.certificate_chain_pem.encode())
        verify_chain(leaf, intermediates, roots, at)
        spiffe_id = check_svid(leaf)
    except (ValueError, x509.InvalidVersion, SvidRefused, ChainRefused) as error:
        raise IssuedIdentityRefused(f"the Connector sent a certificate that cannot be used: {error}") from error
    if public_key_sha256(leaf.public_key()) != public_key_sha256(key.public_key()):
        raise IssuedIdentityRefused("the Connector sent a certificate for another key")
    return spiffe_id


def trust_bundle(issued: IssuedIdentity) -> list[x509.Certificate]:
    """The roots that came with the identity; raises `IssuedIdentityRefused`."""
    try:
        return x509.load_pem_x509_certificates(issued.trust_bundle_pem.encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise IssuedIdentityRefused("the Connector sent no trust bundle") from error


def _pending_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    path = folder / PENDING_KEY_FILE
    try:
        return load_key(path)
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = new_key()
        save_key(path, key)
        return key


async def _answer(
    token: OneTimeToken,
    request: EnrollRequest,
    timeout: timedelta,
    backoff: Backoff,
    sleep: Callable[[float], Awaitable[None]],
) -> EnrollResponse:
    failure = "no answer"
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            while True:
                wait_at_least = None
                try:
                    return await _attempt(token, request)
                except ListenerUnreachable as error:
                    failure = str(error)
                except grpc.aio.AioRpcError as error:
                    problem = Problem.of(error)
                    if problem.code not in RETRIED and not problem.is_reason(Reason.REASON_RATE_LIMITED):
                        raise
                    failure, wait_at_least = problem.message, problem.retry_after
                _log.info("enrolment is tried again", address=token.address, failure=failure)
                await sleep(backoff.next(wait_at_least))
    except TimeoutError as error:
        raise PlaneUnreachable(
            f"{token.address} did not enrol within {timeout.total_seconds():g} s: {failure}"
        ) from error


async def _attempt(token: OneTimeToken, request: EnrollRequest) -> EnrollResponse:
    root = pinned_root(await read_chain(token.address, PROBE_TIMEOUT), token.root_pins)
    async with open_pinned_channel(token.address, root.public_bytes(Encoding.PEM)) as channel:
        return await ConnectorStub(channel).Enroll(request, timeout=CALL_TIMEOUT.total_seconds())


def _pinned(issued: IssuedIdentity, token: OneTimeToken) -> list[x509.Certificate]:
    return [root for root in trust_bundle(issued) if root.fingerprint(hashes.SHA256()) in token.root_pins]


def _keep(identity: Identity, key: ec.EllipticCurvePrivateKey, issued: IssuedIdentity) -> None:
    identity.write(key_to_pem(key), issued.certificate_chain_pem.encode(), issued.trust_bundle_pem.encode())
    (identity.folder / PENDING_KEY_FILE).unlink(missing_ok=True)

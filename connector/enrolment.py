"""Enrolment: a one-time token and a public key become an identity, once.

Using up the token, signing and the ledger's row are one transaction, so that a token is never spent for nothing and
nothing leaves unrecorded. The same token with the same key gets the same certificate again while the token's time
runs: a reply that was lost on its way burns nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from certs.keys import public_key_sha256
from certs.request import CsrRefused, checked_public_key
from certs.spiffe import SpiffeId
from certs.token import OneTimeToken, TokenMalformed
from connector import ledger, store
from connector.authority import IssuingAuthority
from connector.ledger import Issued
from connector.store import Action, Origin, StoredToken, Transaction
from mesh import telemetry
from mesh.database import Database
from mesh.errors import Refusal

_log = telemetry.logger("enrolment")


@dataclass(frozen=True)
class Enrolment:
    """Turns tokens into identities."""

    database: Database
    authority: IssuingAuthority
    clock: Clock
    on_enrolled: Callable[[SpiffeId], None] = lambda _: None
    """Called with each party that was given its identity, for the first time or again."""

    async def enrol(self, token: str, csr_der: bytes, origin: Origin) -> Issued:
        """The identity that the token stands for, for the key in the request.

        Raises `Refusal`: TOKEN_MALFORMED, CSR_REFUSED (both leave the token as it was), and TOKEN_REFUSED, the same
        for a token that is unknown, used with another key, superseded, expired or of another plane.
        """
        secret_sha256 = _secret_sha256(token)
        public_key = requested_key(csr_der)
        issued = await self.database.write(_enrol, self.authority, secret_sha256, public_key, self.clock(), origin)
        if issued is None:
            _log.warning("token refused", address=origin.address, request_id=origin.request_id)
            raise Refusal(Reason.REASON_TOKEN_REFUSED, "the token is not accepted")
        self.on_enrolled(SpiffeId.parse(issued.entry.spiffe_id))
        return issued


def requested_key(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate signing request; raises `Refusal` (CSR_REFUSED)."""
    try:
        return checked_public_key(csr_der)
    except CsrRefused as error:
        raise Refusal(Reason.REASON_CSR_REFUSED, str(error), field="csr") from error


def _secret_sha256(token: str) -> bytes:
    try:
        return OneTimeToken.decode(token).secret_sha256()
    except TokenMalformed as error:
        raise Refusal(Reason.REASON_TOKEN_MALFORMED, str(error), field="token") from error


def _enrol(
    tx: Transaction,
    authority: IssuingAuthority,
    secret_sha256: bytes,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    origin: Origin,
) -> Issued | None:
    # A refusal is an outcome and not an exception: the audit event of a token that there was has to be committed.
    key_sha256 = public_key_sha256(public_key)
    used_now = store.use_token(tx, secret_sha256, key_sha256, now)
    if used_now:
        spiffe_id = SpiffeId.parse(used_now.spiffe_id)
        issued = ledger.issue(tx, authority, public_key, spiffe_id, now, token_id=used_now.token_id)
        _record(tx, Action.ENROLLED, origin, now, issued)
        return issued
    token = store.find_token(tx, secret_sha256)
    if token is None:
        # The log has it. Anybody can make up such tokens, as many as they like, and must not fill the disk by it.
        return None
    if token.public_key_sha256 == key_sha256 and now < token.expire_time:
        again = ledger.issued_for_token(tx, token.token_id)
        _record(tx, Action.ENROLLED_AGAIN, origin, now, again)
        return again
    store.record(
        tx,
        Action.TOKEN_REFUSED,
        origin,
        now,
        spiffe_id=token.spiffe_id,
        token_id=token.token_id,
        detail=_why_refused(token),
    )
    return None


def _record(tx: Transaction, action: Action, origin: Origin, now: datetime, issued: Issued) -> None:
    entry = issued.entry
    store.record(
        tx,
        action,
        origin,
        now,
        spiffe_id=entry.spiffe_id,
        token_id=entry.token_id,
        serial_number=entry.serial_number,
    )


def _why_refused(token: StoredToken) -> str:
    if token.public_key_sha256 is not None:
        return "used"
    return "superseded" if token.superseded else "expired"

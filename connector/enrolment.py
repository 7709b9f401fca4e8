"""Enrolment: a one-time token and a public key become an identity, once.

Using up the token and the plan of what it earns are one transaction, so that a token is never spent for nothing. The
same token with the same key gets the same certificate while the token's time runs, also one that was only planned when
an instance ended: a reply that was lost on its way burns nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from cryptography.hazmat.primitives.asymmetric import ec
from moorage.connector.v1.certificate_pb2 import CertificateOrigin
from moorage.errors.v1.errors_pb2 import Reason

from certs.request import CsrRefused, checked_public_key
from certs.spiffe import SpiffeId
from certs.token import OneTimeToken, TokenMalformed
from connector.ledger import Issued, Ledger, ToIssue
from connector.limits import RateLimits
from connector.store import Action, Origin, Transaction, record
from connector.store.certificates import LedgerEntry, abandon_plan, certificate_of_token, insert_certificate
from connector.store.identities import is_banned
from connector.store.locks import lock_identity
from connector.store.tokens import StoredToken, find_token, use_token
from mesh import telemetry
from mesh.errors import Refusal

_log = telemetry.logger("enrolment")


@dataclass(frozen=True)
class Enrolment:
    """Turns tokens into identities."""

    ledger: Ledger
    limits: RateLimits
    on_enrolled: Callable[[SpiffeId], None] = lambda _: None
    """Called with each party that was given its identity, for the first time or again."""

    async def enrol(self, token: str, csr_der: bytes, origin: Origin) -> Issued:
        """The identity that the token stands for, for the key in the request.

        Raises `Refusal`: RATE_LIMITED, TOKEN_MALFORMED, CSR_REFUSED (which leave the token as it was), and
        TOKEN_REFUSED, the same for a token that is unknown, used with another key, superseded, revoked, expired or of
        another plane, and for one of a banned identity.
        """
        self.limits.take("address", origin.address)
        secret_sha256 = _secret_sha256(token)
        self.limits.take("identity", secret_sha256.hex())  # whose token it is costs a look into the database
        public_key = requested_key(csr_der)
        now = self.ledger.clock()
        # Anybody can make up tokens, as many as they like: such a one is for the log, and must not fill the disk, nor
        # take the turn of a unit that writes.
        seen = await self.ledger.database.glance(find_token, secret_sha256)
        issued = None
        if seen:
            draft = self.ledger.draft(_earned(seen, public_key), now)
            issued = await self.ledger.issue(self._plan, Action.ENROLLED, origin, secret_sha256, draft, now, origin)
        if issued is None:
            _log.warning("token refused", address=origin.address, request_id=origin.request_id)
            raise Refusal(Reason.REASON_TOKEN_REFUSED, "the token is not accepted")
        self.on_enrolled(SpiffeId.parse(issued.entry.spiffe_id))
        return issued

    def _plan(
        self, tx: Transaction, secret_sha256: bytes, draft: LedgerEntry, now: datetime, origin: Origin
    ) -> LedgerEntry | None:
        # A refusal is an outcome and not an exception: the audit event of the token has to be committed.
        lock_identity(tx, draft.spiffe_id)
        banned = is_banned(tx, draft.spiffe_id)
        if not banned and use_token(tx, secret_sha256, draft.public_key_sha256, now):
            insert_certificate(tx, draft)
            return draft
        token = find_token(tx, secret_sha256)
        if token is None:
            return None
        if banned:
            _refuse(tx, token, "banned", now, origin)
        elif token.public_key_sha256 == draft.public_key_sha256 and now < token.expire_time:
            return self._plan_again(tx, token, draft, now, origin)
        else:
            _refuse(tx, token, _why_refused(token), now, origin)
        return None

    def _plan_again(
        self, tx: Transaction, token: StoredToken, draft: LedgerEntry, now: datetime, origin: Origin
    ) -> LedgerEntry | None:
        """What the token earned: the certificate, or the plan that nobody completed, or another where that is void."""
        earned = certificate_of_token(tx, token.token_id)
        if earned and earned.revoked:
            _refuse(tx, token, "revoked", now, origin)
            return None
        if earned and not earned.planned:
            audited = {"spiffe_id": earned.spiffe_id, "token_id": token.token_id}
            record(tx, Action.ENROLLED_AGAIN, origin, now, serial_number=earned.serial_number, **audited)
            return earned
        if earned and self.ledger.can_complete(earned, now):
            return earned
        if earned:
            abandon_plan(tx, earned.serial_number)
        insert_certificate(tx, draft)
        return draft


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


def _earned(token: StoredToken, public_key: ec.EllipticCurvePublicKey) -> ToIssue:
    return ToIssue(
        spiffe_id=SpiffeId.parse(token.spiffe_id),
        public_key=public_key,
        origin=CertificateOrigin.CERTIFICATE_ORIGIN_ENROLLED,
        dns_names=token.dns_names,
        ip_addresses=tuple(ip_address(each) for each in token.ip_addresses),
        token_id=token.token_id,
    )


def _refuse(tx: Transaction, token: StoredToken, why: str, now: datetime, origin: Origin) -> None:
    record(tx, Action.TOKEN_REFUSED, origin, now, spiffe_id=token.spiffe_id, token_id=token.token_id, detail=why)


def _why_refused(token: StoredToken) -> str:
    if token.public_key_sha256 is not None:
        return "used"
    if token.revoked:
        return "revoked"
    return "superseded" if token.superseded else "expired"

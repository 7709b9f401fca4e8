"""Renewal: a party that shows its living certificate gets a new one for a new key, and for the same identity."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from certs.keys import public_key_sha256
from certs.spiffe import Kind, SpiffeId
from connector import ledger, store
from connector.authority import IssuingAuthority
from connector.enrolment import requested_key
from connector.ledger import Issued
from connector.registry import DirectorAway, Registry
from connector.store import Action, Origin, Transaction
from mesh import telemetry
from mesh.call import Caller
from mesh.database import Database
from mesh.errors import Refusal

_log = telemetry.logger("renewal")


@dataclass(frozen=True)
class Renewal:
    """Gives parties new certificates for the ones that they hold."""

    database: Database
    registry: Registry
    authority: IssuingAuthority
    clock: Clock

    async def renew(self, caller: Caller, presented: x509.Certificate, csr_der: bytes, origin: Origin) -> Issued:
        """A new certificate for the caller's own identity. `presented` is the certificate that it calls with.

        Raises `Refusal`: CSR_REFUSED, also for a key that is certified already, and IDENTITY_UNKNOWN for an
        Application or Runtime that is no longer registered.
        """
        public_key = requested_key(csr_der)
        if caller.kind in _REGISTERED:
            await self._check_registered(caller.spiffe_id)
        return await self.database.write(_renew, self.authority, public_key, caller, presented, self.clock(), origin)

    async def _check_registered(self, spiffe_id: SpiffeId) -> None:
        try:
            known = await self.registry.knows(spiffe_id)
        except DirectorAway:
            # A party must not lose its certificate because the Director is down for a while.
            _log.warning("renewed without asking the director", spiffe_id=str(spiffe_id))
            return
        if not known:
            raise Refusal(Reason.REASON_IDENTITY_UNKNOWN, f"{spiffe_id} is no longer registered")


_REGISTERED = {Kind.APPLICATION, Kind.RUNTIME}


def _renew(
    tx: Transaction,
    authority: IssuingAuthority,
    public_key: ec.EllipticCurvePublicKey,
    caller: Caller,
    presented: x509.Certificate,
    now: datetime,
    origin: Origin,
) -> Issued:
    spiffe_id = str(caller.spiffe_id)
    key_sha256 = public_key_sha256(public_key)
    # The presented certificate may come from outside of the ledger: `moorage up` makes the first ones.
    if key_sha256 == public_key_sha256(presented.public_key()) or store.key_is_certified(
        tx, spiffe_id, key_sha256, now
    ):
        raise Refusal(
            Reason.REASON_CSR_REFUSED, "the key of the CSR has a certificate already: make a new key", field="csr"
        )
    issued = ledger.issue(tx, authority, public_key, caller.spiffe_id, now, replaces=presented)
    store.record(tx, Action.RENEWED, origin, now, spiffe_id=spiffe_id, serial_number=issued.entry.serial_number)
    return issued

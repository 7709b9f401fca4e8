"""Giving a party whose certificate expired while it slept another one, for the very key that it has."""

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import CertificateOrigin
from moorage.connector.v1.identity_pb2 import RevocationAction
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import select

from certs.check import check_svid
from certs.issue import issue
from certs.keys import new_key, public_key_sha256
from certs.request import make_csr
from certs.spiffe import SpiffeId
from connector import identities
from connector.authority import IssuingAuthority
from connector.first_identities import take_in
from connector.ledger import Issued, Ledger
from connector.recovery import Recovery
from connector.renewal import Renewal
from connector.revocations import revoke_certificates
from connector.store import Origin, tables
from connector.store.certificates import find_certificate
from connector.store.revocations import create_ledger
from connector.uses import record
from mesh.call import Caller
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START, TRUST_DOMAIN, UNLIMITED, FixedClock, RegistryDouble

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
WINDOW = timedelta(days=7)
RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
SLEEPER = Origin(actor="", address="ipv4:203.0.113.7:50000", request_id="req-3")


@dataclass
class Held:
    """A certificate for a day, as its party has it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def caller(self) -> Caller:
        serial = self.certificate.serial_number
        return Caller(
            check_svid(self.certificate),
            serial.to_bytes((serial.bit_length() + 7) // 8).hex(),
            self.certificate.not_valid_after_utc,
        )


@pytest.fixture
def recovery(database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock) -> Recovery:
    registry.known.add(RUNTIME)
    return Recovery(Ledger(database, authority, clock), registry, UNLIMITED, WINDOW)


@pytest.fixture
async def asleep(recovery: Recovery, authority: IssuingAuthority, database: Database, clock: FixedClock) -> Held:
    """A Runtime whose certificate ended a second ago."""
    await database.write(create_ledger, str(uuid.uuid4()))
    key = new_key()
    held = issue(authority.authority, key.public_key(), RUNTIME, DAY, clock).certificate
    await database.write(take_in, held, authority.sha256, START)
    clock.now = START + DAY + SECOND
    return Held(held, key)


async def recover(recovery: Recovery, held: Held) -> Issued:
    return await recovery.recover(held.pem, make_csr(held.key), SLEEPER)


async def refusal(recovery: Recovery, held: Held) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await recover(recovery, held)
    return refused.value


async def events(database: Database) -> list[tuple[str, str]]:
    query = select(tables.audit.c.action, tables.audit.c.detail).order_by(tables.audit.c.event_id)
    return [(row.action, row.detail) for row in await database.read(lambda tx: tx.execute(query).all())]


async def test_a_party_that_overslept_gets_a_certificate_for_the_same_key_and_identity(
    recovery: Recovery, asleep: Held, database: Database
) -> None:
    issued = await recover(recovery, asleep)

    leaf = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    assert check_svid(leaf) == RUNTIME
    assert public_key_sha256(leaf.public_key()) == public_key_sha256(asleep.key.public_key())
    entry = await database.read(find_certificate, issued.entry.serial_number)
    assert entry
    assert entry.origin == CertificateOrigin.CERTIFICATE_ORIGIN_RECOVERED
    assert entry.replaces_serial == asleep.caller.serial
    assert await events(database) == [("RECOVERED", "")]


async def test_while_it_lives_the_same_request_is_answered_with_it_again_also_once_it_is_used(
    recovery: Recovery, asleep: Held, database: Database
) -> None:
    first = await recover(recovery, asleep)
    again = await recover(recovery, asleep)
    await database.write(record, [first.entry.serial_number], recovery.ledger.clock())
    once_used = await recover(recovery, asleep)

    assert first.chain_pem == again.chain_pem == once_used.chain_pem


async def test_without_a_window_nothing_is_recovered(recovery: Recovery, asleep: Held) -> None:
    off = replace(recovery, window=timedelta(0))

    assert (await refusal(off, asleep)).reason == Reason.REASON_RECOVERY_REFUSED


@pytest.mark.parametrize(("offset", "accepted"), [(-SECOND, True), (timedelta(0), False), (SECOND, False)])
async def test_the_window_ends_when_it_says(
    recovery: Recovery, asleep: Held, clock: FixedClock, offset: timedelta, accepted: bool
) -> None:
    clock.now = START + DAY + WINDOW + offset

    if accepted:
        await recover(recovery, asleep)
    else:
        assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED


async def test_a_certificate_that_lives_is_renewed_and_not_recovered(
    recovery: Recovery, asleep: Held, clock: FixedClock, database: Database
) -> None:
    clock.now = START + DAY - SECOND

    assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED
    assert await events(database) == [("RECOVERY_REFUSED", "not expired")]


async def test_another_key_is_refused_by_its_field(recovery: Recovery, asleep: Held) -> None:
    refused = await refusal(recovery, replace(asleep, key=new_key()))

    assert refused.reason == Reason.REASON_CSR_REFUSED
    assert [each.field for each in refused.violations] == ["csr"]


async def test_a_certificate_that_the_ledger_does_not_have_is_refused_and_leaves_nothing(
    recovery: Recovery, asleep: Held, authority: IssuingAuthority, clock: FixedClock, database: Database
) -> None:
    foreign = Held(issue(authority.authority, asleep.key.public_key(), RUNTIME, DAY, clock).certificate, asleep.key)
    clock.now += DAY

    assert (await refusal(recovery, foreign)).reason == Reason.REASON_RECOVERY_REFUSED
    assert await events(database) == []


@pytest.mark.parametrize("pem", ["garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_what_is_no_certificate_is_refused(recovery: Recovery, asleep: Held, pem: str) -> None:
    with pytest.raises(Refusal) as refused:
        await recovery.recover(pem, make_csr(asleep.key), SLEEPER)

    assert refused.value.reason == Reason.REASON_RECOVERY_REFUSED


async def test_a_revoked_certificate_is_not_recovered(recovery: Recovery, asleep: Held, database: Database) -> None:
    compromised = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
    await database.write(revoke_certificates, ORIGIN, START, [asleep.caller.serial], compromised)

    assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED


@pytest.mark.parametrize("action", [RevocationAction.REVOCATION_ACTION_BAN, RevocationAction.REVOCATION_ACTION_EVICT])
async def test_an_identity_that_was_banned_or_evicted_recovers_nothing(
    recovery: Recovery, asleep: Held, database: Database, action: RevocationAction.ValueType
) -> None:
    recovered = await recover(recovery, asleep)
    reason = RevocationReason.REVOCATION_REASON_PRIVILEGE_WITHDRAWN
    await database.write(identities.revoke, ORIGIN, START, str(RUNTIME), action, reason)

    assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED
    entry = await database.read(find_certificate, recovered.entry.serial_number)
    assert entry
    assert entry.revoked


async def test_a_party_that_is_no_longer_registered_recovers_nothing(
    recovery: Recovery, asleep: Held, registry: RegistryDouble
) -> None:
    registry.known.clear()

    assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED


async def test_while_the_director_does_not_say_who_is_registered_the_party_is_to_come_again(
    recovery: Recovery, asleep: Held, registry: RegistryDouble
) -> None:
    registry.away = True

    refused = await refusal(recovery, asleep)

    assert refused.reason == Reason.REASON_DEPENDENCY_UNAVAILABLE
    assert refused.retry_after


async def test_a_certificate_whose_successor_was_never_used_is_recovered(
    recovery: Recovery, asleep: Held, clock: FixedClock, registry: RegistryDouble, database: Database
) -> None:
    clock.now = START + DAY / 2
    lost = await Renewal(recovery.ledger, registry, UNLIMITED).renew(
        asleep.caller, lambda: asleep.certificate, make_csr(new_key()), ORIGIN
    )
    clock.now = START + DAY + SECOND

    await recover(recovery, asleep)

    entry = await database.read(find_certificate, lost.entry.serial_number)
    assert entry
    assert entry.revocation_reason == RevocationReason.REVOCATION_REASON_SUPERSEDED


async def test_a_certificate_whose_successor_was_used_is_not_recovered(
    recovery: Recovery, asleep: Held, clock: FixedClock, registry: RegistryDouble, database: Database
) -> None:
    clock.now = START + DAY / 2
    renewed = await Renewal(recovery.ledger, registry, UNLIMITED).renew(
        asleep.caller, lambda: asleep.certificate, make_csr(new_key()), ORIGIN
    )
    await database.write(record, [renewed.entry.serial_number], clock.now)
    clock.now = START + DAY + SECOND

    assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED


async def test_only_the_newest_certificate_of_an_identity_is_recovered(
    recovery: Recovery, asleep: Held, authority: IssuingAuthority, database: Database, clock: FixedClock
) -> None:
    newer = issue(authority.authority, new_key().public_key(), RUNTIME, DAY, lambda: START + 2 * SECOND).certificate
    await database.write(take_in, newer, authority.sha256, clock.now)
    clock.now += DAY

    assert (await refusal(recovery, asleep)).reason == Reason.REASON_RECOVERY_REFUSED

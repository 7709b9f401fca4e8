"""Giving parties new certificates for the ones that they hold."""

import uuid
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.connector.v1.certificate_pb2 import CertificateOrigin, CertificateState
from moorage.connector.v1.identity_pb2 import RevocationAction
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import select

from certs.check import check_svid, serial_hex
from certs.issue import IssuedCertificate, issue
from certs.keys import new_key
from certs.request import make_csr
from certs.spiffe import SpiffeId
from connector import identities
from connector.authority import IssuingAuthority
from connector.ledger import Issued, Ledger
from connector.limits import Allowance, RateLimits
from connector.renewal import Renewal
from connector.revocations import revoke_certificates
from connector.store import tables
from connector.store.certificates import LedgerEntry, find_certificate
from connector.store.revocations import create_ledger
from connector.upkeep import Upkeep
from connector.uses import record
from mesh.call import Caller
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START, TRUST_DOMAIN, UNLIMITED, FixedClock, RegistryDouble, lifetime

RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
ANN = SpiffeId.admin(TRUST_DOMAIN, "ann")
SERVICE = SpiffeId.service(TRUST_DOMAIN, "director")


async def test_a_renewed_certificate_is_for_the_callers_own_identity_and_names_the_one_it_replaces(
    renewal: Renewal, registry: RegistryDouble, database: Database
) -> None:
    registry.known.add(RUNTIME)
    held = held_by(renewal.ledger.authority, RUNTIME)

    issued = await renew(renewal, held)

    assert check_svid(leaf_of(issued)) == RUNTIME
    query = select(tables.certificates).where(tables.certificates.c.replaces_serial.is_not(None))
    [row] = await database.read(lambda tx: tx.execute(query).all())
    assert (row.serial_number, row.replaces_serial) == (issued.entry.serial_number, held.serial_hex)
    assert row.token_id is None


async def test_a_key_that_has_a_living_certificate_is_not_certified_again(
    renewal: Renewal, registry: RegistryDouble, clock: FixedClock
) -> None:
    registry.known.add(RUNTIME)
    first_key, second_key = new_key(), new_key()
    held = held_by(renewal.ledger.authority, RUNTIME, first_key)
    await renew(renewal, held, second_key)

    for key in (first_key, second_key):
        with pytest.raises(Refusal) as refused:
            await renew(renewal, held, key)
        assert refused.value.reason == Reason.REASON_CSR_REFUSED
        assert [each.field for each in refused.value.violations] == ["csr"]


async def test_an_identity_that_the_director_no_longer_knows_is_not_renewed(
    renewal: Renewal, database: Database
) -> None:
    with pytest.raises(Refusal) as refused:
        await renew(renewal, held_by(renewal.ledger.authority, RUNTIME))

    assert refused.value.reason == Reason.REASON_IDENTITY_UNKNOWN
    assert await database.read(lambda tx: tx.execute(select(tables.certificates)).all()) == []


async def test_while_the_director_is_away_certificates_are_renewed_all_the_same(
    renewal: Renewal, registry: RegistryDouble
) -> None:
    registry.away = True

    issued = await renew(renewal, held_by(renewal.ledger.authority, RUNTIME))

    assert issued.entry.spiffe_id == str(RUNTIME)


@pytest.mark.parametrize("spiffe_id", [SpiffeId.admin(TRUST_DOMAIN, "ann"), SpiffeId.viewer(TRUST_DOMAIN, "vic")])
async def test_people_are_renewed_without_asking_the_director(renewal: Renewal, spiffe_id: SpiffeId) -> None:
    issued = await renew(renewal, held_by(renewal.ledger.authority, spiffe_id))

    assert issued.entry.spiffe_id == str(spiffe_id)


async def test_a_service_keeps_its_host_names(renewal: Renewal) -> None:
    held = issue(
        renewal.ledger.authority.authority,
        new_key().public_key(),
        SERVICE,
        timedelta(days=1),
        renewal.ledger.clock,
        ["director.plane.test"],
        [ip_address("127.0.0.1")],
        server=True,
    )

    leaf = leaf_of(await renew(renewal, held))

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["director.plane.test"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]


async def test_a_garbage_csr_is_refused_by_its_field(renewal: Renewal, registry: RegistryDouble) -> None:
    registry.known.add(RUNTIME)
    held = held_by(renewal.ledger.authority, RUNTIME)

    with pytest.raises(Refusal) as refused:
        await renewal.renew(caller(held), lambda: held.certificate, b"garbage", ORIGIN)

    assert refused.value.reason == Reason.REASON_CSR_REFUSED


async def test_a_certificate_from_outside_of_the_ledger_is_in_it_once_it_was_renewed(
    renewal: Renewal, database: Database
) -> None:
    held = held_by(renewal.ledger.authority, ANN)

    await renew(renewal, held)

    entry = await found(database, held.serial_hex)
    assert entry.origin == CertificateOrigin.CERTIFICATE_ORIGIN_BOOTSTRAPPED
    assert entry.first_use_time == START
    assert entry.state(START) == CertificateState.CERTIFICATE_STATE_ACTIVE


async def test_whoever_renews_again_never_got_the_certificate_before_which_ends_at_once(
    renewal: Renewal, database: Database
) -> None:
    held = held_by(renewal.ledger.authority, ANN)

    lost = [await renew(renewal, held) for _ in range(3)]
    arrived = await renew(renewal, held)

    assert {await state(database, each.entry.serial_number) for each in lost} == {
        CertificateState.CERTIFICATE_STATE_SUPERSEDED
    }
    assert await state(database, arrived.entry.serial_number) == CertificateState.CERTIFICATE_STATE_ACTIVE
    assert await state(database, held.serial_hex) == CertificateState.CERTIFICATE_STATE_ACTIVE


@pytest.mark.check("trust-13")
async def test_the_old_certificate_renews_nothing_once_the_new_one_is_used(
    renewal: Renewal, database: Database
) -> None:
    held = held_by(renewal.ledger.authority, ANN)
    renewed = await renew(renewal, held)
    await database.write(record, [renewed.entry.serial_number], START)

    with pytest.raises(Refusal) as refused:
        await renew(renewal, held)

    assert refused.value.reason == Reason.REASON_CERTIFICATE_REVOKED
    assert await state(database, held.serial_hex) == CertificateState.CERTIFICATE_STATE_SUPERSEDED


async def test_to_renew_by_the_new_certificate_is_to_use_it(renewal: Renewal, database: Database) -> None:
    held = held_by(renewal.ledger.authority, ANN)
    leaf = leaf_of(await renew(renewal, held))

    await renewal.renew(
        Caller(ANN, serial_hex(leaf), leaf.not_valid_after_utc), lambda: leaf, make_csr(new_key()), ORIGIN
    )

    assert await state(database, held.serial_hex) == CertificateState.CERTIFICATE_STATE_SUPERSEDED


@pytest.mark.parametrize("ban", [True, False], ids=["banned", "revoked"])
async def test_whoever_was_banned_or_revoked_renews_nothing(renewal: Renewal, database: Database, ban: bool) -> None:
    held = held_by(renewal.ledger.authority, ANN)
    await renew(renewal, held)
    withdrawn = RevocationReason.REVOCATION_REASON_PRIVILEGE_WITHDRAWN
    if ban:
        action = RevocationAction.REVOCATION_ACTION_BAN
        await database.write(identities.revoke, ORIGIN, START, str(ANN), action, withdrawn)
    else:
        await database.write(revoke_certificates, ORIGIN, START, [held.serial_hex], withdrawn)

    with pytest.raises(Refusal) as refused:
        await renew(renewal, held)

    assert refused.value.reason == Reason.REASON_CERTIFICATE_REVOKED


async def test_a_certificate_that_was_renewed_and_used_on_ends_after_the_grace(
    renewal: Renewal, database: Database, clock: FixedClock
) -> None:
    held = held_by(renewal.ledger.authority, ANN)
    await renew(renewal, held)
    upkeep = Upkeep(database, clock, renewal_grace=timedelta(hours=1), revocation_retention=timedelta(days=7))

    clock.now = START + timedelta(minutes=59)
    await upkeep.once()
    assert await state(database, held.serial_hex) == CertificateState.CERTIFICATE_STATE_ACTIVE
    clock.now = START + timedelta(hours=1)
    await upkeep.once()
    assert await state(database, held.serial_hex) == CertificateState.CERTIFICATE_STATE_SUPERSEDED


async def test_an_identity_that_asks_too_often_is_told_when_to_come_again(renewal: Renewal, database: Database) -> None:
    limits = RateLimits({"address": Allowance(0, 0), "identity": Allowance(0.01, 1)})
    limited = replace(renewal, limits=limits)
    held = held_by(renewal.ledger.authority, ANN)
    await renew(limited, held)

    with pytest.raises(Refusal) as refused:
        await renew(limited, held)

    assert refused.value.reason == Reason.REASON_RATE_LIMITED
    assert refused.value.retry_after


async def found(database: Database, serial: str) -> LedgerEntry:
    entry = await database.read(find_certificate, serial)
    assert entry
    return entry


async def state(database: Database, serial: str) -> CertificateState.ValueType:
    return (await found(database, serial)).state(START)


async def renew(renewal: Renewal, held: IssuedCertificate, key: ec.EllipticCurvePrivateKey | None = None) -> Issued:
    return await renewal.renew(caller(held), lambda: held.certificate, make_csr(key or new_key()), ORIGIN)


def caller(held: IssuedCertificate) -> Caller:
    return Caller(check_svid(held.certificate), held.serial_hex, held.not_after)


def held_by(
    authority: IssuingAuthority, spiffe_id: SpiffeId, key: ec.EllipticCurvePrivateKey | None = None
) -> IssuedCertificate:
    return issue(
        authority.authority, (key or new_key()).public_key(), spiffe_id, lifetime(spiffe_id.kind), authority.clock
    )


def leaf_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificates(issued.chain_pem)[0]


@pytest.fixture
async def renewal(
    database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock
) -> Renewal:
    assert clock.now == START
    await database.write(create_ledger, str(uuid.uuid4()))
    return Renewal(Ledger(database, authority, clock), registry, UNLIMITED)

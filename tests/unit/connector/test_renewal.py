"""Giving parties new certificates for the ones that they hold."""

import uuid
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import select

from certs.check import check_svid
from certs.issue import IssuedCertificate, issue
from certs.keys import new_key
from certs.request import make_csr
from certs.spiffe import SpiffeId
from connector import store
from connector.authority import IssuingAuthority
from connector.ledger import Issued
from connector.renewal import Renewal
from mesh.call import Caller
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START, TRUST_DOMAIN, FixedClock, RegistryDouble

RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
SERVICE = SpiffeId.service(TRUST_DOMAIN, "director")


async def test_a_renewed_certificate_is_for_the_callers_own_identity_and_names_the_one_it_replaces(
    renewal: Renewal, registry: RegistryDouble, database: Database
) -> None:
    registry.known.add(RUNTIME)
    held = held_by(renewal.authority, RUNTIME)

    issued = await renew(renewal, held)

    assert check_svid(leaf_of(issued)) == RUNTIME
    [row] = await database.read(lambda tx: tx.execute(select(store.certificates)).all())
    assert (row.serial_number, row.replaces_serial) == (issued.entry.serial_number, held.serial_hex)
    assert row.token_id is None


async def test_a_key_that_has_a_living_certificate_is_not_certified_again(
    renewal: Renewal, registry: RegistryDouble, clock: FixedClock
) -> None:
    registry.known.add(RUNTIME)
    first_key, second_key = new_key(), new_key()
    held = held_by(renewal.authority, RUNTIME, first_key)
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
        await renew(renewal, held_by(renewal.authority, RUNTIME))

    assert refused.value.reason == Reason.REASON_IDENTITY_UNKNOWN
    assert await database.read(lambda tx: tx.execute(select(store.certificates)).all()) == []


async def test_while_the_director_is_away_certificates_are_renewed_all_the_same(
    renewal: Renewal, registry: RegistryDouble
) -> None:
    registry.away = True

    issued = await renew(renewal, held_by(renewal.authority, RUNTIME))

    assert issued.entry.spiffe_id == str(RUNTIME)


@pytest.mark.parametrize("spiffe_id", [SpiffeId.admin(TRUST_DOMAIN, "ann"), SpiffeId.viewer(TRUST_DOMAIN, "vic")])
async def test_people_are_renewed_without_asking_the_director(renewal: Renewal, spiffe_id: SpiffeId) -> None:
    issued = await renew(renewal, held_by(renewal.authority, spiffe_id))

    assert issued.entry.spiffe_id == str(spiffe_id)


async def test_a_service_keeps_its_host_names(renewal: Renewal) -> None:
    held = issue(
        renewal.authority.authority,
        new_key().public_key(),
        SERVICE,
        timedelta(days=1),
        renewal.clock,
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
    held = held_by(renewal.authority, RUNTIME)

    with pytest.raises(Refusal) as refused:
        await renewal.renew(caller(held), held.certificate, b"garbage", ORIGIN)

    assert refused.value.reason == Reason.REASON_CSR_REFUSED


async def renew(renewal: Renewal, held: IssuedCertificate, key: ec.EllipticCurvePrivateKey | None = None) -> Issued:
    return await renewal.renew(caller(held), held.certificate, make_csr(key or new_key()), ORIGIN)


def caller(held: IssuedCertificate) -> Caller:
    return Caller(check_svid(held.certificate), held.serial_hex, held.not_after)


def held_by(
    authority: IssuingAuthority, spiffe_id: SpiffeId, key: ec.EllipticCurvePrivateKey | None = None
) -> IssuedCertificate:
    return authority.issue((key or new_key()).public_key(), spiffe_id)


def leaf_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificates(issued.chain_pem)[0]


@pytest.fixture
def renewal(database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock) -> Renewal:
    assert clock.now == START
    return Renewal(database, registry, authority, clock)

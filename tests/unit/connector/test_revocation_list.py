"""Certificate revocation lists: what is in them, and that their numbers only grow."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from cryptography import x509
from moorage.connector.v1.revocation_pb2 import GetRevocationListResponse, RevocationReason
from moorage.errors.v1.errors_pb2 import Reason

from connector.authority import IssuingAuthority
from connector.revocation_list import FRESH, RevocationLists
from connector.revocations import revoke_certificates, supersede
from connector.store import metadata
from connector.store.authorities import record_authority
from connector.store.revocations import Entry, Kind, append
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START, FixedClock
from tests.unit.connector.store.rows import DAY, HOUR, OTHER_AUTHORITY, SECOND, begun, certified

ANN = "spiffe://plane.test/admin/ann"
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
UNSAID = RevocationReason.REVOCATION_REASON_UNSPECIFIED


@pytest.fixture
async def ledger(database_url: str, authority: IssuingAuthority) -> AsyncIterator[Database]:
    opened = Database.open(database_url)
    metadata.create_all(opened.engine)
    await opened.write(record_authority, authority.sha256, authority.chain_pem)
    yield await begun(opened)
    opened.close()


@pytest.fixture
def lists(ledger: Database, authority: IssuingAuthority, clock: FixedClock) -> RevocationLists:
    return another(ledger, authority, clock)


def another(database: Database, authority: IssuingAuthority, clock: FixedClock) -> RevocationLists:
    return RevocationLists(database, authority, DAY, clock)


def read(response: GetRevocationListResponse, authority: IssuingAuthority) -> x509.CertificateRevocationList:
    """The list, which is as the response says and signed by the authority."""
    crl = x509.load_der_x509_crl(response.crl_der)
    key = authority.authority.certificate.public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]  # an authority's key is one that signs
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == response.crl_number
    assert crl.last_update_utc == response.this_update.ToDatetime(START.tzinfo)
    assert crl.next_update_utc == response.next_update.ToDatetime(START.tzinfo)
    assert response.authority_sha256 == authority.sha256.hex()
    return crl


def serials_of(crl: x509.CertificateRevocationList) -> set[str]:
    return {f"{each.serial_number:040x}" for each in crl}


async def test_a_list_has_what_was_revoked_or_superseded_with_its_reason(
    ledger: Database, lists: RevocationLists, authority: IssuingAuthority
) -> None:
    compromised, unsaid, superseded, living = [
        await certified(ledger, ANN, authority=authority.sha256) for _ in range(4)
    ]
    of_another = await certified(ledger, ANN, authority=OTHER_AUTHORITY)
    await ledger.write(revoke_certificates, ORIGIN, START, [compromised, of_another], COMPROMISE)
    await ledger.write(revoke_certificates, ORIGIN, START, [unsaid], UNSAID)
    await ledger.write(supersede, START, [superseded])

    crl = read(await lists.fetch(None), authority)

    reasons = {
        f"{each.serial_number:040x}": [str(extension.value.reason) for extension in each.extensions] for each in crl
    }
    assert reasons == {
        compromised: ["ReasonFlags.key_compromise"],
        unsaid: [],
        superseded: ["ReasonFlags.superseded"],
    }
    assert living not in reasons


async def test_a_list_is_given_out_again_while_it_is_fresh(
    ledger: Database, lists: RevocationLists, clock: FixedClock
) -> None:
    first = await lists.fetch(None)
    clock.now += FRESH - SECOND

    assert await lists.fetch(None) == first
    assert first.crl_number == 1


async def test_a_list_that_is_not_fresh_is_signed_anew(
    ledger: Database, lists: RevocationLists, authority: IssuingAuthority, clock: FixedClock
) -> None:
    await lists.fetch(None)
    clock.now += FRESH

    second = await lists.fetch(None)

    assert second.crl_number == 2
    assert read(second, authority).last_update_utc == START + FRESH


async def test_a_revocation_is_in_the_next_list_at_once(
    ledger: Database, lists: RevocationLists, authority: IssuingAuthority
) -> None:
    serial = await certified(ledger, ANN, authority=authority.sha256)
    assert serials_of(read(await lists.fetch(None), authority)) == set()

    await ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE)
    after = await lists.fetch(None)

    assert serials_of(read(after, authority)) == {serial}
    assert after.crl_number == 2


async def test_a_certificate_is_left_out_once_a_list_had_it_after_its_end(
    ledger: Database, lists: RevocationLists, authority: IssuingAuthority, clock: FixedClock
) -> None:
    serial = await certified(ledger, ANN, authority=authority.sha256, life=HOUR)
    await ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE)

    seen = []
    for _ in range(3):
        seen.append(serials_of(read(await lists.fetch(None), authority)))
        clock.now += 2 * HOUR

    assert seen == [{serial}, {serial}, set()]


async def test_numbers_grow_by_one_over_instances_that_sign_at_once(
    ledger: Database, authority: IssuingAuthority, clock: FixedClock
) -> None:
    instances = [another(ledger, authority, clock) for _ in range(4)]
    numbers = []
    for _ in range(5):
        responses = await asyncio.gather(*(each.fetch(None) for each in instances))
        assert len({each.crl_der for each in responses}) == 1
        numbers.append(responses[0].crl_number)
        clock.now += timedelta(minutes=2)

    assert numbers == [1, 2, 3, 4, 5]


async def test_the_last_list_of_an_authority_that_issues_no_more_is_kept(
    ledger: Database, lists: RevocationLists, authority: IssuingAuthority, clock: FixedClock
) -> None:
    last = await lists.fetch(None)
    clock.now += DAY

    assert await lists.fetch(authority.sha256) != last
    for unknown in (OTHER_AUTHORITY, bytes(32)):
        with pytest.raises(Refusal) as refused:
            await lists.fetch(unknown)
        assert refused.value.reason == Reason.REASON_AUTHORITY_NOT_FOUND


async def test_many_who_ask_at_once_share_what_is_signed_after_they_asked(
    ledger: Database, lists: RevocationLists, authority: IssuingAuthority
) -> None:
    async def revoked_and_listed() -> bool:
        serial = await certified(ledger, ANN, authority=authority.sha256)
        await ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE)
        return serial in serials_of(read(await lists.fetch(None), authority))

    assert all(await asyncio.gather(*(revoked_and_listed() for _ in range(12))))

    before = (await lists.fetch(None)).crl_number
    await ledger.write(append, START, [Entry(Kind.AUTHORITIES)])
    numbers = {each.crl_number for each in await asyncio.gather(*(lists.fetch(None) for _ in range(12)))}
    assert numbers <= {before + 1, before + 2}

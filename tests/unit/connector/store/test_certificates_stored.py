"""The ledger of certificates, on both engines."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from moorage.connector.v1.certificate_pb2 import CertificateOrigin, CertificateState
from moorage.connector.v1.revocation_pb2 import RevocationReason
from sqlalchemy import update

from connector.revocations import revoke_certificates, supersede
from connector.store import Transaction
from connector.store.authorities import retire
from connector.store.certificates import (
    LedgerEntry,
    Standing,
    abandon_plan,
    certificate_of_token,
    complete_certificate,
    find_certificate,
    insert_certificate,
    issued_since,
    outlived,
    page_of_certificates,
    place_of_certificate,
    read_standing,
    successors,
)
from connector.store.identities import Revocation, note_revocation
from connector.store.revocations import Kind, read_since
from connector.store.tables import certificates
from connector.store.tokens import NewToken, insert_token
from connector.uses import end_outlived, record
from mesh.database import Database
from tests.unit.connector.plane import ORIGIN, START
from tests.unit.connector.store.rows import AUTHORITY, DAY, HOUR, OTHER_AUTHORITY, SECOND, begun, reasons

ANN, BOB = (f"spiffe://plane.test/admin/{name}" for name in ("ann", "bob"))
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
SUPERSEDED = RevocationReason.REVOCATION_REASON_SUPERSEDED
TOKEN = "22222222-2222-4222-8222-222222222222"
KEY = bytes([5] * 32)
PLAN = LedgerEntry(
    serial_number="01",
    spiffe_id=ANN,
    public_key_sha256=KEY,
    certificate_der=b"",
    authority_sha256=AUTHORITY,
    not_before=START - SECOND,
    not_after=START + DAY,
    issue_time=START,
    origin=CertificateOrigin.CERTIFICATE_ORIGIN_RENEWED,
    planned_tbs=b"tbs",
)
SIGNED = replace(PLAN, certificate_der=b"der", planned_tbs=None)


@pytest.fixture
async def ledger(database: Database) -> Database:
    return await begun(database)


async def added(ledger: Database, *entries: LedgerEntry) -> None:
    for entry in entries:
        await ledger.write(insert_certificate, entry)


async def found(ledger: Database, serial: str) -> LedgerEntry:
    entry = await ledger.read(find_certificate, serial)
    assert entry
    return entry


async def test_what_is_written_is_read(ledger: Database) -> None:
    await added(ledger, PLAN)

    assert await found(ledger, "01") == PLAN
    assert await ledger.read(find_certificate, "02") is None


async def test_a_plan_is_completed_once(ledger: Database) -> None:
    await added(ledger, PLAN)

    completed = await asyncio.gather(
        *(ledger.write(complete_certificate, "01", f"der {number}".encode()) for number in range(8))
    )

    assert sorted(completed) == [False] * 7 + [True]
    entry = await found(ledger, "01")
    assert entry.certificate_der == f"der {completed.index(True)}".encode()
    assert entry.planned_tbs is None


async def test_a_plan_that_was_revoked_is_never_completed(ledger: Database) -> None:
    await added(ledger, PLAN)
    await ledger.write(revoke_certificates, ORIGIN, START, ["01"], COMPROMISE)

    assert not await ledger.write(complete_certificate, "01", b"der")
    assert (await found(ledger, "01")).planned


async def test_no_serial_number_is_there_twice(ledger: Database) -> None:
    await added(ledger, PLAN)

    with pytest.raises(Exception, match=r"(?i)unique"):
        await added(ledger, replace(PLAN, spiffe_id=BOB))


async def test_a_token_has_one_certificate_until_its_plan_is_given_up(ledger: Database) -> None:
    await ledger.write(insert_token, NewToken(TOKEN, bytes(32), ANN, START, START + HOUR, ""))
    first, second = replace(PLAN, token_id=TOKEN), replace(PLAN, token_id=TOKEN, serial_number="02")
    await added(ledger, first)
    with pytest.raises(Exception, match=r"(?i)unique"):
        await added(ledger, second)

    await ledger.write(abandon_plan, "01")
    await added(ledger, second)

    earned = await ledger.read(certificate_of_token, TOKEN)
    assert earned
    assert earned.serial_number == "02"
    assert (await found(ledger, "01")).planned


async def test_what_was_signed_is_not_given_up(ledger: Database) -> None:
    await ledger.write(insert_token, NewToken(TOKEN, bytes(32), ANN, START, START + HOUR, ""))
    await added(ledger, replace(SIGNED, token_id=TOKEN))

    await ledger.write(abandon_plan, "01")

    assert (await found(ledger, "01")).token_id == TOKEN


async def standing(ledger: Database, spiffe_id: str = ANN, now: datetime = START, serial: str = "01") -> Standing:
    return await ledger.read(read_standing, serial, spiffe_id, KEY, now)


async def test_a_key_is_certified_while_a_certificate_for_it_lives_and_not_by_a_plan(ledger: Database) -> None:
    await added(ledger, PLAN)
    assert not (await standing(ledger)).is_key_certified

    await ledger.write(complete_certificate, "01", b"der")

    assert (await standing(ledger, now=START + DAY)).is_key_certified
    assert not (await standing(ledger, now=START + DAY + SECOND)).is_key_certified
    assert not (await standing(ledger, BOB)).is_key_certified


async def test_how_a_certificate_stands_is_read_at_once(ledger: Database) -> None:
    await added(ledger, SIGNED, replace(PLAN, serial_number="02", replaces_serial="01"))
    await ledger.write(note_revocation, ANN, Revocation(START, COMPROMISE, BOB, ""), ban=True)

    assert await standing(ledger) == Standing(await found_without_chain(ledger, "01"), True, True, True)
    assert await standing(ledger, BOB, serial="03") == Standing(None, False, False, False)


async def found_without_chain(ledger: Database, serial: str) -> LedgerEntry:
    return replace(await found(ledger, serial), authority_chain_pem=b"")


async def test_at_the_first_use_of_a_certificate_the_one_that_it_replaces_is_superseded(ledger: Database) -> None:
    await added(ledger, SIGNED, replace(SIGNED, serial_number="02", replaces_serial="01"))

    await ledger.write(record, ["02", "99"], START + SECOND)

    assert await reasons(ledger) == {"01": SUPERSEDED}
    assert (await found(ledger, "02")).first_use_time == START + SECOND
    [told] = await ledger.read(read_since, 0)
    assert told.kind == Kind.CERTIFICATE
    assert told.revoked
    assert told.revoked.serial_number == "01"


async def test_a_use_that_is_told_again_changes_nothing(ledger: Database) -> None:
    await added(ledger, SIGNED, replace(SIGNED, serial_number="02", replaces_serial="01"))
    await ledger.write(record, ["02"], START + SECOND)

    await ledger.write(record, ["02"], START + HOUR)

    assert (await found(ledger, "02")).first_use_time == START + SECOND
    assert len(await ledger.read(read_since, 0)) == 1


async def test_uses_that_are_told_by_many_at_once_are_all_noted(ledger: Database) -> None:
    serials = [f"{number:02x}" for number in range(1, 41)]
    await added(ledger, *(replace(SIGNED, serial_number=each) for each in serials))
    await added(ledger, *(replace(SIGNED, serial_number=f"a0{each}", replaces_serial=each) for each in serials))

    await asyncio.gather(
        *(ledger.write(record, [f"a0{each}" for each in serials[:: 1 if turn % 2 else -1]], START) for turn in range(6))
    )

    assert await reasons(ledger) == dict.fromkeys(serials, SUPERSEDED)


async def test_what_was_replaced_ends_after_the_grace_though_its_successor_was_not_used(ledger: Database) -> None:
    await added(ledger, SIGNED, replace(SIGNED, serial_number="02", replaces_serial="01", issue_time=START + HOUR))

    assert await ledger.write(end_outlived, START, START + HOUR - SECOND, START) == 0
    assert await ledger.write(end_outlived, START, START + HOUR, START) == 1

    assert await reasons(ledger) == {"01": SUPERSEDED}


@pytest.mark.parametrize(
    "successor",
    [
        replace(PLAN, serial_number="02", replaces_serial="01"),
        replace(SIGNED, serial_number="02", replaces_serial="03"),
        replace(SIGNED, serial_number="02"),
    ],
    ids=["is only planned", "replaces another", "replaces none"],
)
async def test_a_certificate_outlives_nothing_whose_successor(ledger: Database, successor: LedgerEntry) -> None:
    await added(ledger, SIGNED, successor)

    assert await ledger.read(outlived, START, START + HOUR, START) == []


async def test_a_certificate_whose_successor_was_revoked_is_not_ended_for_it(ledger: Database) -> None:
    await added(ledger, SIGNED, replace(SIGNED, serial_number="02", replaces_serial="01"))
    await ledger.write(revoke_certificates, ORIGIN, START, ["02"], COMPROMISE)

    assert await ledger.read(outlived, START, START + HOUR, START) == []
    assert await ledger.read(successors, "01") == []


async def test_what_an_identity_was_given_after_a_certificate_leaves_out_plans_and_others(ledger: Database) -> None:
    await added(
        ledger,
        SIGNED,
        replace(SIGNED, serial_number="02", issue_time=START - SECOND),
        replace(SIGNED, serial_number="03", issue_time=START + SECOND),
        replace(PLAN, serial_number="04", issue_time=START + SECOND),
        replace(SIGNED, serial_number="05", issue_time=START + SECOND, spiffe_id=BOB),
    )

    newer = await ledger.read(issued_since, await found(ledger, "01"))

    assert [each.serial_number for each in newer] == ["03"]


NOW = START + HOUR
STATES = {
    "0a": CertificateState.CERTIFICATE_STATE_PLANNED,
    "0b": CertificateState.CERTIFICATE_STATE_ACTIVE,
    "0c": CertificateState.CERTIFICATE_STATE_EXPIRED,
    "0d": CertificateState.CERTIFICATE_STATE_REVOKED,
    "0e": CertificateState.CERTIFICATE_STATE_SUPERSEDED,
    "0f": CertificateState.CERTIFICATE_STATE_REVOKED,
    "10": CertificateState.CERTIFICATE_STATE_REVOKED,
    "11": CertificateState.CERTIFICATE_STATE_SUPERSEDED,
}


@pytest.fixture
async def one_of_each(ledger: Database) -> Database:
    """A certificate in each state, by serial number, as of `NOW`; each issued a second after the one before."""
    made = {
        "0a": PLAN,
        "0b": SIGNED,
        "0c": replace(SIGNED, not_after=NOW),
        "0d": SIGNED,
        "0e": SIGNED,
        "0f": replace(SIGNED, authority_sha256=OTHER_AUTHORITY),
        "10": replace(SIGNED, not_after=NOW),
        "11": replace(SIGNED, not_after=NOW),
    }
    for number, (serial, entry) in enumerate(made.items()):
        await added(ledger, replace(entry, serial_number=serial, issue_time=START + number * SECOND))
    await ledger.write(revoke_certificates, ORIGIN, START, ["0d", "10"], COMPROMISE)
    await ledger.write(supersede, START, ["0e", "11"])
    await ledger.write(retire, {OTHER_AUTHORITY}, START)
    return ledger


async def listed(
    ledger: Database,
    states: list[int] | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 100,
    spiffe_id: str = "",
) -> list[LedgerEntry]:
    return list(await ledger.read(page_of_certificates, spiffe_id, states or [], None, None, NOW, after, limit))


async def test_the_state_is_what_a_certificate_says_of_itself_first(one_of_each: Database) -> None:
    assert {each.serial_number: each.state(NOW) for each in await listed(one_of_each)} == STATES


@pytest.mark.parametrize("state", sorted(set(STATES.values())), ids=CertificateState.Name)
async def test_a_list_is_narrowed_to_a_state_as_it_is_now(one_of_each: Database, state: int) -> None:
    expected = {serial for serial, each in STATES.items() if each == state}

    assert {each.serial_number for each in await listed(one_of_each, [state])} == expected


async def test_a_list_is_narrowed_to_several_states(one_of_each: Database) -> None:
    wanted = [CertificateState.CERTIFICATE_STATE_ACTIVE, CertificateState.CERTIFICATE_STATE_EXPIRED]

    assert [each.serial_number for each in await listed(one_of_each, [*wanted])] == ["0c", "0b"]


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_walk_meets_each_certificate_once_those_issued_last_first(one_of_each: Database, size: int) -> None:
    seen: list[LedgerEntry] = []
    after = None
    while page := await listed(one_of_each, after=after, limit=size):
        seen += page
        after = place_of_certificate(page[-1])

    assert [each.serial_number for each in seen] == sorted(STATES, reverse=True)


async def test_certificates_of_one_moment_are_told_apart_by_their_serial_numbers(ledger: Database) -> None:
    serials = [f"{number:02x}" for number in range(1, 6)]
    await added(ledger, *(replace(SIGNED, serial_number=each) for each in serials))

    first = await listed(ledger, limit=2)
    rest = await listed(ledger, after=place_of_certificate(first[-1]))

    assert [each.serial_number for each in [*first, *rest]] == serials[::-1]


async def test_a_list_is_narrowed_to_an_identity(ledger: Database) -> None:
    await added(ledger, SIGNED, replace(SIGNED, serial_number="02", spiffe_id=BOB))

    assert [each.serial_number for each in await listed(ledger, spiffe_id=BOB)] == ["02"]


async def test_a_list_is_narrowed_to_what_ends_in_an_interval(ledger: Database) -> None:
    await added(ledger, *(replace(SIGNED, serial_number=f"0{n}", not_after=START + n * HOUR) for n in range(1, 5)))

    page = await ledger.read(page_of_certificates, "", [], START + 2 * HOUR, START + 4 * HOUR, NOW, None, 10)

    assert [each.serial_number for each in page] == ["03", "02"]


async def test_a_list_leaves_out_the_certificates_themselves(ledger: Database) -> None:
    await added(ledger, SIGNED)

    [listed_entry] = await listed(ledger)

    assert listed_entry == replace(SIGNED, certificate_der=b"")


async def test_a_row_of_the_release_before_says_by_its_token_what_it_came_from(ledger: Database) -> None:
    await ledger.write(insert_token, NewToken(TOKEN, bytes(32), ANN, START, START + HOUR, ""))
    await added(ledger, replace(SIGNED, token_id=TOKEN), replace(SIGNED, serial_number="02"))
    await ledger.write(_forget_origins)

    assert (await found(ledger, "01")).origin == CertificateOrigin.CERTIFICATE_ORIGIN_ENROLLED
    assert (await found(ledger, "02")).origin == CertificateOrigin.CERTIFICATE_ORIGIN_RENEWED


def _forget_origins(tx: Transaction) -> None:
    tx.execute(update(certificates).values(origin=None))

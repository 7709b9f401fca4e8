"""Ending certificates and identities, and the log that tells of it, on both engines."""

import asyncio
from datetime import timedelta

import pytest
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    Identity,
    IdentityState,
    ListIdentitiesRequest,
    RevocationAction,
)
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import insert, select

from connector.identities import get_identity, is_banned, list_identities, restore, revoke
from connector.revocations import revoke_certificates, supersede
from connector.store import Action, Transaction
from connector.store.authorities import retire
from connector.store.base import to_micros
from connector.store.revocations import (
    Entry,
    Kind,
    append,
    banned_identities,
    create_ledger,
    forget,
    live_authorities,
    read_ledger,
    read_since,
    revoked_and_unexpired,
)
from connector.store.tables import audit, tokens
from connector.store.tokens import NewToken, insert_token
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START
from tests.unit.connector.store.rows import AUTHORITY, DAY, HOUR, LEDGER, SECOND, begun, certified, reasons

ANN, BOB, EVE = (f"spiffe://plane.test/admin/{name}" for name in ("ann", "bob", "eve"))
BAN, EVICT = RevocationAction.REVOCATION_ACTION_BAN, RevocationAction.REVOCATION_ACTION_EVICT
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
CESSATION = RevocationReason.REVOCATION_REASON_CESSATION_OF_OPERATION
SUPERSEDED = RevocationReason.REVOCATION_REASON_SUPERSEDED
ACTIVE, INACTIVE = IdentityState.IDENTITY_STATE_ACTIVE, IdentityState.IDENTITY_STATE_INACTIVE
BANNED = IdentityState.IDENTITY_STATE_BANNED


@pytest.fixture
async def ledger(database: Database) -> Database:
    return await begun(database)


async def revision(database: Database) -> int:
    return (await database.read(read_ledger)).revision


async def log(database: Database, since: int = 0) -> list[tuple[int, Kind, str | None]]:
    entries = await database.read(read_since, since)
    return [
        (each.revision, each.kind, each.revoked.serial_number if each.revoked else each.spiffe_id) for each in entries
    ]


async def audited(database: Database) -> list[tuple[str, str | None]]:
    query = select(audit.c.action, audit.c.spiffe_id).order_by(audit.c.event_id)
    return [(row.action, row.spiffe_id) for row in await database.read(lambda tx: tx.execute(query).all())]


async def identity(database: Database, spiffe_id: str) -> Identity:
    return (await database.read(get_identity, GetIdentityRequest(spiffe_id=spiffe_id), START)).identity


async def token_for(database: Database, spiffe_id: str, number: int = 1) -> None:
    def add(tx: Transaction) -> None:
        tx.execute(
            insert(tokens).values(
                token_id=f"token {number}",
                secret_sha256=number.to_bytes(32),
                spiffe_id=spiffe_id,
                issue_time=to_micros(START),
                expire_time=to_micros(START + HOUR),
            )
        )

    await database.write(add)


async def test_a_ledger_is_begun_once(ledger: Database) -> None:
    await ledger.write(create_ledger, "another")
    assert await ledger.read(read_ledger) == (LEDGER, 0, 0)


async def test_a_revoked_certificate_is_marked_told_of_and_audited(ledger: Database) -> None:
    serial, untouched = await certified(ledger, ANN), await certified(ledger, ANN)

    assert await ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE, "lost") == 1

    assert await reasons(ledger) == {serial: COMPROMISE}
    assert await log(ledger) == [(1, Kind.CERTIFICATE, serial)]
    assert await audited(ledger) == [(Action.CERTIFICATE_REVOKED, ANN)]
    assert untouched not in await reasons(ledger)


async def test_to_revoke_again_changes_nothing_and_takes_no_revision(ledger: Database) -> None:
    serial = await certified(ledger, ANN)
    await ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE)

    assert await ledger.write(revoke_certificates, ORIGIN, START, [serial, "00"], CESSATION) == 0

    assert await reasons(ledger) == {serial: COMPROMISE}
    assert await revision(ledger) == 1
    assert len(await audited(ledger)) == 1


async def test_what_was_revoked_is_not_superseded_later_nor_the_other_way_round(ledger: Database) -> None:
    revoked, superseded = await certified(ledger, ANN), await certified(ledger, ANN)
    await ledger.write(revoke_certificates, ORIGIN, START, [revoked], COMPROMISE)

    await ledger.write(supersede, START, [revoked, superseded, "00"])
    await ledger.write(revoke_certificates, ORIGIN, START, [superseded], COMPROMISE)

    assert await reasons(ledger) == {revoked: COMPROMISE, superseded: SUPERSEDED}
    assert await revision(ledger) == 2


async def test_many_that_end_at_once_are_one_revision(ledger: Database) -> None:
    serials = [await certified(ledger, ANN) for _ in range(5)]

    await ledger.write(supersede, START, serials)

    assert await log(ledger) == [(1, Kind.CERTIFICATE, serial) for serial in sorted(serials)]


async def test_an_expired_certificate_is_revoked_without_a_word_to_the_services(ledger: Database) -> None:
    serial = await certified(ledger, ANN, life=HOUR)

    assert await ledger.write(revoke_certificates, ORIGIN, START + 2 * HOUR, [serial], COMPROMISE) == 1

    assert await reasons(ledger) == {serial: COMPROMISE}
    assert await revision(ledger) == 0


async def test_revisions_are_committed_in_their_order_and_none_is_left_out(ledger: Database) -> None:
    serials = [await certified(ledger, ANN) for _ in range(20)]
    seen: list[int] = []

    async def follow() -> None:
        last = 0
        while last < len(serials):
            entries = await ledger.read(read_since, last)
            seen.extend(each.revision for each in entries)
            last = seen[-1] if seen else 0
            await asyncio.sleep(0)

    following = asyncio.create_task(follow())
    await asyncio.gather(
        *(ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE) for serial in serials)
    )
    await following

    assert seen == list(range(1, 21))


async def test_of_two_that_revoke_one_certificate_at_once_one_does(ledger: Database) -> None:
    serial = await certified(ledger, ANN)

    counts = await asyncio.gather(
        *(ledger.write(revoke_certificates, ORIGIN, START, [serial], COMPROMISE) for _ in range(8))
    )

    assert sorted(counts) == [0] * 7 + [1]
    assert await revision(ledger) == 1


async def test_all_that_is_revoked_leaves_out_what_has_expired(ledger: Database) -> None:
    short, long, living = [await certified(ledger, ANN, life=life) for life in (HOUR, DAY, DAY)]
    await ledger.write(revoke_certificates, ORIGIN, START, [short, long], COMPROMISE)

    found = await ledger.read(revoked_and_unexpired, START + 2 * HOUR)

    assert [(each.serial_number, each.not_after, each.reason) for each in found] == [(long, START + DAY, COMPROMISE)]
    assert living not in {each.serial_number for each in found}


async def test_the_log_forgets_from_its_old_end_and_moves_its_horizon(ledger: Database) -> None:
    for day in range(4):
        await ledger.write(append, START + day * DAY, [Entry(Kind.AUTHORITIES)])

    assert await ledger.write(forget, START + 2 * DAY, 1)
    assert (await ledger.read(read_ledger)).horizon == 1
    assert await ledger.write(forget, START + 2 * DAY, 1)
    assert not await ledger.write(forget, START + 2 * DAY, 1)

    assert await ledger.read(read_ledger) == (LEDGER, 4, 2)
    assert [each[0] for each in await log(ledger)] == [3, 4]


async def test_authorities_count_until_they_are_retired_or_expire(ledger: Database) -> None:
    await ledger.write(retire, {AUTHORITY}, START)

    assert len(await ledger.read(live_authorities, START)) == 1
    assert await ledger.read(live_authorities, START + 366 * DAY) == []


@pytest.mark.check("trust-19")
async def test_a_banned_identity_loses_what_it_has_and_is_told_of(ledger: Database) -> None:
    first, second = await certified(ledger, ANN), await certified(ledger, ANN)
    other = await certified(ledger, BOB)
    await token_for(ledger, ANN)

    revoked = await ledger.write(revoke, ORIGIN, START, ANN, BAN, CESSATION, "left")

    assert (revoked.certificates, revoked.tokens) == (2, 1)
    assert revoked.identity == await identity(ledger, ANN)
    assert (revoked.identity.state, revoked.identity.active_tokens) == (BANNED, 0)
    assert revoked.identity.revoke_time.ToDatetime(START.tzinfo) == START
    assert (revoked.identity.revocation_reason, revoked.identity.revocation_note) == (CESSATION, "left")
    assert revoked.identity.revoked_by == ORIGIN.actor
    assert await reasons(ledger) == {first: CESSATION, second: CESSATION}
    assert await log(ledger) == [*((1, Kind.CERTIFICATE, each) for each in sorted((first, second))), (1, Kind.BAN, ANN)]
    assert await ledger.read(banned_identities) == [ANN]
    assert await ledger.read(is_banned, ANN)
    assert other not in await reasons(ledger)
    assert not await ledger.read(is_banned, BOB)


async def test_an_identity_can_be_banned_before_anything_is_known_of_it(ledger: Database) -> None:
    revoked = await ledger.write(revoke, ORIGIN, START, EVE, BAN, COMPROMISE)

    assert (revoked.certificates, revoked.tokens) == (0, 0)
    assert (await identity(ledger, EVE)).state == BANNED
    assert await log(ledger) == [(1, Kind.BAN, EVE)]


async def test_to_ban_again_changes_nothing(ledger: Database) -> None:
    before = await ledger.write(revoke, ORIGIN, START, ANN, BAN, CESSATION, "left")

    for action in (BAN, EVICT):
        again = await ledger.write(revoke, ORIGIN, START + HOUR, ANN, action, COMPROMISE, "again")
        assert again.identity == before.identity

    assert await revision(ledger) == 1
    assert len(await audited(ledger)) == 1


async def test_an_evicted_identity_can_be_banned_later(ledger: Database) -> None:
    await certified(ledger, ANN)
    evicted = await ledger.write(revoke, ORIGIN, START, ANN, EVICT, COMPROMISE)
    assert (evicted.identity.state, evicted.certificates) == (INACTIVE, 1)
    assert not await ledger.read(is_banned, ANN)

    banned = await ledger.write(revoke, ORIGIN, START + HOUR, ANN, BAN, CESSATION)

    assert (banned.identity.state, banned.certificates) == (BANNED, 0)
    assert banned.identity.revocation_reason == CESSATION


async def test_to_evict_what_has_nothing_leaves_nothing_behind(ledger: Database) -> None:
    revoked = await ledger.write(revoke, ORIGIN, START, EVE, EVICT, COMPROMISE)

    assert (revoked.identity.spiffe_id, revoked.identity.state) == (EVE, INACTIVE)
    with pytest.raises(Refusal) as refused:
        await identity(ledger, EVE)
    assert refused.value.reason == Reason.REASON_IDENTITY_NOT_FOUND


@pytest.mark.check("trust-19")
async def test_a_restored_identity_is_banned_no_longer_and_what_was_revoked_stays_so(ledger: Database) -> None:
    serial = await certified(ledger, ANN)
    await ledger.write(revoke, ORIGIN, START, ANN, BAN, COMPROMISE)

    restored = await ledger.write(restore, ORIGIN, START + HOUR, ANN, "a mistake")
    assert await ledger.write(restore, ORIGIN, START + 2 * HOUR, ANN) == restored

    assert restored.state == INACTIVE
    assert restored.revoke_time.ToDatetime(START.tzinfo) == START
    assert not await ledger.read(is_banned, ANN)
    assert await ledger.read(banned_identities) == []
    assert await reasons(ledger) == {serial: COMPROMISE}
    assert await log(ledger, 1) == [(2, Kind.RESTORE, ANN)]
    assert [action for action, _ in await audited(ledger)][-1] == Action.IDENTITY_RESTORED


async def test_to_restore_what_nothing_is_known_of_is_refused(ledger: Database) -> None:
    with pytest.raises(Refusal) as refused:
        await ledger.write(restore, ORIGIN, START, EVE)
    assert refused.value.reason == Reason.REASON_IDENTITY_NOT_FOUND


async def test_a_ban_takes_in_what_is_only_planned(ledger: Database) -> None:
    planned = await certified(ledger, ANN, planned=True)

    await ledger.write(revoke, ORIGIN, START, ANN, BAN, COMPROMISE)

    assert await reasons(ledger) == {planned: COMPROMISE}


async def test_an_identity_is_active_while_it_has_a_certificate_that_counts(ledger: Database) -> None:
    await certified(ledger, ANN, life=HOUR)
    await certified(ledger, ANN, issue_time=START + SECOND, planned=True)
    await token_for(ledger, ANN)

    before = await identity(ledger, ANN)
    after = await ledger.read(get_identity, GetIdentityRequest(spiffe_id=ANN), START + HOUR)

    assert (before.state, before.active_certificates, before.active_tokens) == (ACTIVE, 1, 1)
    assert before.last_issue_time.ToDatetime(START.tzinfo) == START
    assert not before.HasField("revoke_time")
    assert (after.identity.state, after.identity.active_certificates, after.identity.active_tokens) == (INACTIVE, 0, 0)


async def test_no_certificate_of_a_retired_authority_makes_an_identity_active(ledger: Database) -> None:
    await certified(ledger, ANN)
    await ledger.write(retire, {AUTHORITY}, START)

    assert (await identity(ledger, ANN)).state == INACTIVE


async def test_identities_are_listed_once_each_in_order_and_by_state(ledger: Database) -> None:
    names = [f"spiffe://plane.test/admin/a{number:02d}" for number in range(12)]
    for number, name in enumerate(names):
        if number % 3 == 0:
            await certified(ledger, name)
            await certified(ledger, name)
        await token_for(ledger, name, number + 1)
        if number % 4 == 1:
            await ledger.write(revoke, ORIGIN, START, name, BAN, COMPROMISE)
    await ledger.write(revoke, ORIGIN, START, EVE, BAN, COMPROMISE)
    expected = {name: ACTIVE if number % 3 == 0 else INACTIVE for number, name in enumerate(names)}
    expected |= {name: BANNED for number, name in enumerate(names) if number % 4 == 1} | {EVE: BANNED}

    async def listed(states: list[IdentityState.ValueType], size: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        request = ListIdentitiesRequest(page_size=size, states=states)
        while True:
            response = await ledger.read(list_identities, request, START)
            assert len(response.identities) <= size
            found += [(each.spiffe_id, each.state) for each in response.identities]
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    for states in ([], [ACTIVE], [INACTIVE], [BANNED], [ACTIVE, BANNED], [ACTIVE, INACTIVE, BANNED]):
        wanted = sorted((name, state) for name, state in expected.items() if not states or state in states)
        for size in (1, 4, 100):
            assert await listed(states, size) == wanted, (states, size)


async def test_whoever_bans_waits_for_what_is_being_issued(ledger: Database) -> None:
    """A token that is issued at the same time is either revoked with the others, or not issued at all."""

    def issue(tx: Transaction, number: int) -> bool:
        new = NewToken(f"token {number}", number.to_bytes(32), ANN, START, START + timedelta(hours=1), BOB)
        insert_token(tx, new)
        if is_banned(tx, ANN):
            raise Refusal(Reason.REASON_IDENTITY_BANNED, "banned")
        return True

    await asyncio.gather(
        *(ledger.write(issue, number) for number in range(1, 9)),
        ledger.write(revoke, ORIGIN, START, ANN, BAN, COMPROMISE),
        return_exceptions=True,
    )

    assert (await identity(ledger, ANN)).active_tokens == 0

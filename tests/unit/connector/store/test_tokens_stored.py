"""What the database keeps of one-time tokens, on both engines."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from moorage.connector.v1.token_pb2 import TokenDeliveryState, TokenState
from sqlalchemy import text

from connector.store import Transaction, metadata
from connector.store.tokens import (
    NewToken,
    StoredToken,
    active_tokens,
    find_token,
    insert_token,
    page_of_tokens,
    place_of_token,
    read_token,
    revoke_token,
    revoke_unused,
    settle_delivery,
    use_token,
)
from mesh.database import Database
from tests.unit.connector.plane import START

ANN, BOB = "spiffe://plane.test/admin/ann", "spiffe://plane.test/admin/bob"
KEY, OTHER_KEY = bytes(32), bytes([1] * 32)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
ACTIVE, USED = TokenState.TOKEN_STATE_ACTIVE, TokenState.TOKEN_STATE_USED
EXPIRED, REVOKED = TokenState.TOKEN_STATE_EXPIRED, TokenState.TOKEN_STATE_REVOKED
SUPERSEDED = TokenState.TOKEN_STATE_SUPERSEDED

_numbers = count(1)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    metadata.create_all(opened.engine)
    yield opened
    opened.close()


async def added(database: Database, spiffe_id: str = ANN, delay: timedelta = timedelta()) -> NewToken:
    number = next(_numbers)
    token = NewToken(
        token_id=f"00000000-0000-4000-8000-{number:012d}",
        secret_sha256=number.to_bytes(32),
        spiffe_id=spiffe_id,
        issue_time=START + delay,
        expire_time=START + delay + HOUR,
        issuer=BOB,
    )
    await database.write(insert_token, token)
    return token


async def stored(database: Database, token: NewToken) -> StoredToken:
    found = await database.read(find_token, token.secret_sha256)
    assert found
    return found


async def used(database: Database, token: NewToken, key: bytes = KEY, after: timedelta = SECOND) -> bool:
    return await database.write(use_token, token.secret_sha256, key, START + after) is not None


async def test_a_token_is_kept_as_it_was_given_out(database: Database) -> None:
    token = replace(
        await added(database), token_id="t", secret_sha256=b"s", dns_names=("a.test",), ip_addresses=("::1",)
    )
    await database.write(insert_token, token)

    found = await stored(database, token)

    for name in ("token_id", "spiffe_id", "issue_time", "expire_time", "issuer", "dns_names", "ip_addresses"):
        assert getattr(found, name) == getattr(token, name)
    assert (found.state(START), found.delivery_state) == (ACTIVE, None)


@pytest.mark.check("trust-01")
async def test_of_many_that_use_a_token_at_once_one_wins(database: Database) -> None:
    token = await added(database)

    won = await asyncio.gather(*(used(database, token, bytes([number] * 32)) for number in range(20)))

    assert won.count(True) == 1
    assert (await stored(database, token)).public_key_sha256 == bytes([won.index(True)] * 32)


@pytest.mark.check("trust-03")
@pytest.mark.parametrize(("late", "accepted"), [(-SECOND, True), (timedelta(), False), (SECOND, False)])
async def test_a_token_works_until_the_moment_that_it_expires(
    database: Database, late: timedelta, accepted: bool
) -> None:
    token = await added(database)

    assert await used(database, token, after=HOUR + late) == accepted


async def test_a_used_token_stays_used_whatever_comes_later(database: Database) -> None:
    token = await added(database)
    assert await used(database, token)

    assert not await used(database, token, OTHER_KEY)
    assert not await database.write(revoke_token, token.token_id, START + SECOND)
    assert await database.write(revoke_unused, ANN, START + SECOND) == 0
    await added(database)
    assert (await stored(database, token)).state(START + 2 * HOUR) == USED
    assert (await stored(database, token)).public_key_sha256 == KEY


async def test_a_revoked_token_cannot_be_used_and_stays_revoked(database: Database) -> None:
    token = await added(database)

    assert await database.write(revoke_token, token.token_id, START + SECOND)

    assert not await used(database, token)
    assert not await database.write(revoke_token, token.token_id, START + 2 * SECOND)
    await added(database)
    found = await stored(database, token)
    assert (found.state(START + 2 * HOUR), found.revoke_time) == (REVOKED, START + SECOND)


async def test_an_instance_of_the_release_before_takes_no_revoked_token(database: Database) -> None:
    token = await added(database)
    await database.write(revoke_token, token.token_id, START)

    # What 0001's instances ask for.
    usable = text("SELECT count(*) FROM tokens WHERE use_time IS NULL AND supersede_time IS NULL")
    assert await database.read(lambda tx: tx.execute(usable).scalar_one()) == 0


async def test_what_could_not_be_used_any_more_is_not_revoked(database: Database) -> None:
    superseded = await added(database)
    expired = await added(database)

    assert not await database.write(revoke_token, superseded.token_id, START)
    assert not await database.write(revoke_token, expired.token_id, START + HOUR)
    assert not await database.write(revoke_token, "unknown", START)
    assert (await stored(database, superseded)).state(START + HOUR) == SUPERSEDED
    assert (await stored(database, expired)).state(START + HOUR) == EXPIRED


async def test_revoking_those_of_one_identity_leaves_the_others(database: Database) -> None:
    token, other = await added(database, ANN), await added(database, BOB)

    assert await database.write(revoke_unused, ANN, START) == 1

    assert (await stored(database, token)).state(START) == REVOKED
    assert (await stored(database, other)).state(START) == ACTIVE
    assert [await database.read(active_tokens, each, START) for each in (ANN, BOB)] == [0, 1]
    assert await database.read(active_tokens, BOB, START + HOUR) == 0


async def test_of_tokens_that_are_issued_for_one_identity_at_once_one_can_be_used(database: Database) -> None:
    await asyncio.gather(*(added(database) for _ in range(8)))

    assert await database.read(active_tokens, ANN, START) == 1


async def test_a_list_has_those_issued_last_first_and_each_once(database: Database) -> None:
    tokens = [await added(database, delay=timedelta(seconds=number // 3)) for number in range(10)]
    expected = sorted(tokens, key=lambda each: (each.issue_time, each.token_id), reverse=True)

    seen: list[str] = []
    after = None
    while page := await database.read(page_of_tokens, "", (), START, after, 4):
        seen += [token.token_id for token, _ in page]
        after = place_of_token(page[-1][0])

    assert seen == [each.token_id for each in expected]


async def test_a_list_is_narrowed_to_an_identity_and_to_states_as_they_are_now(database: Database) -> None:
    of_ann = {
        USED: await added(database),
        REVOKED: await added(database),
        SUPERSEDED: await added(database),
        EXPIRED: await added(database, "spiffe://plane.test/admin/eve"),
    }
    of_ann[ACTIVE] = await added(database, delay=HOUR)
    await added(database, BOB)

    def make(tx: Transaction) -> None:
        for name, column in ((USED, "use_time"), (REVOKED, "revoke_time")):
            update = text(f"UPDATE tokens SET {column} = 1 WHERE token_id = :id")
            tx.execute(update, {"id": of_ann[name].token_id})
        tx.execute(text("UPDATE tokens SET spiffe_id = :ann WHERE spiffe_id LIKE '%eve'"), {"ann": ANN})

    await database.write(make)

    async def listed(*states: TokenState.ValueType) -> list[str]:
        page = await database.read(page_of_tokens, ANN, states, START + HOUR, None, 100)
        assert all(token.state(START + HOUR) in (states or of_ann) for token, _ in page)
        return [token.token_id for token, _ in page]

    for state, token in of_ann.items():
        assert await listed(state) == [token.token_id]
    assert len(await listed(USED, EXPIRED)) == 2
    assert len(await listed()) == 5


async def test_what_came_of_a_delivery_is_noted(database: Database) -> None:
    token = replace(await added(database), token_id="t", secret_sha256=b"s", to_be_delivered=True)
    await database.write(insert_token, token)
    pending = await stored(database, token)
    assert (pending.delivery_state, pending.delivery_time) == (TokenDeliveryState.TOKEN_DELIVERY_STATE_PENDING, None)

    failed = TokenDeliveryState.TOKEN_DELIVERY_STATE_FAILED
    await database.write(settle_delivery, "t", failed, START + SECOND, "answered 500")

    found = await stored(database, token)
    assert (found.delivery_state, found.delivery_time, found.delivery_failure) == (
        failed,
        START + SECOND,
        "answered 500",
    )


async def test_a_token_that_earned_nothing_names_no_certificate(database: Database) -> None:
    token = await added(database)

    assert await database.read(read_token, token.token_id) == (await stored(database, token), "")
    assert await database.read(read_token, "unknown") is None

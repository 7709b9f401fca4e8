"""Issuing one-time tokens."""

import uuid
from datetime import timedelta

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import select

from certs.spiffe import SpiffeId
from certs.token import OneTimeToken
from connector import store
from connector.authority import IssuingAuthority
from connector.store import Transaction
from connector.tokens import TokenIssuer
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START, TRUST_DOMAIN, FixedClock, RegistryDouble

APPLICATION = SpiffeId.application(TRUST_DOMAIN, uuid.UUID(int=1))
RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
ENROLMENT_ADDRESS = "plane.test:7445"


def counting_bytes(count: int) -> bytes:
    return bytes(range(count))


async def test_a_token_carries_the_enrolment_address_and_the_pin_of_every_root(tokens: TokenIssuer) -> None:
    issued = await tokens.issue(APPLICATION, None, ORIGIN)

    token = OneTimeToken.decode(issued.text)
    assert token.address == ENROLMENT_ADDRESS
    assert token.root_pins == tokens.authority.root_pins
    assert issued.spiffe_id == APPLICATION


async def test_the_database_holds_the_hash_of_a_secret_and_not_the_secret(
    tokens: TokenIssuer, database: Database
) -> None:
    token = OneTimeToken.decode((await tokens.issue(APPLICATION, None, ORIGIN)).text)

    stored = await database.read(lambda tx: tx.execute(select(store.tokens)).one())

    assert stored.secret_sha256 == token.secret_sha256()
    assert token.secret not in str(tuple(stored)).encode()
    assert token.secret not in tuple(stored)


async def test_a_token_lives_as_long_as_asked_for_and_an_hour_otherwise(tokens: TokenIssuer) -> None:
    assert (await tokens.issue(APPLICATION, None, ORIGIN)).expire_time == START + timedelta(hours=1)
    shorter = timedelta(minutes=5)
    assert (await tokens_with_other_secret(tokens).issue(APPLICATION, shorter, ORIGIN)).expire_time == START + shorter


@pytest.mark.parametrize(
    ("party", "reason", "field"),
    [
        (APPLICATION, Reason.REASON_APPLICATION_NOT_FOUND, "application_id"),
        (RUNTIME, Reason.REASON_RUNTIME_NOT_FOUND, "runtime_id"),
    ],
)
async def test_a_party_that_the_director_does_not_know_gets_no_token(
    tokens: TokenIssuer, registry: RegistryDouble, party: SpiffeId, reason: Reason.ValueType, field: str
) -> None:
    registry.known.clear()

    with pytest.raises(Refusal) as refused:
        await tokens.issue(party, None, ORIGIN)

    assert refused.value.reason == reason
    assert [each.field for each in refused.value.violations] == [field]


async def test_while_the_director_is_away_the_caller_is_told_to_come_back(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    registry.away = True

    with pytest.raises(Refusal) as refused:
        await tokens.issue(APPLICATION, None, ORIGIN)

    assert refused.value.reason == Reason.REASON_DEPENDENCY_UNAVAILABLE
    assert refused.value.metadata == {"service": "director"}
    assert refused.value.retry_after is not None
    assert await database.read(lambda tx: tx.execute(select(store.tokens)).all()) == []


async def test_issuing_is_audited_with_the_token_id_and_who_asked(tokens: TokenIssuer, database: Database) -> None:
    issued = await tokens.issue(RUNTIME, None, ORIGIN)

    event = await database.read(lambda tx: tx.execute(select(store.audit)).one())

    assert (event.action, event.token_id, event.spiffe_id) == ("TOKEN_ISSUED", issued.token_id, str(RUNTIME))
    assert (event.actor, event.address, event.request_id) == (ORIGIN.actor, ORIGIN.address, ORIGIN.request_id)


async def test_a_new_token_supersedes_the_unused_ones_of_the_same_party_only(
    tokens: TokenIssuer, database: Database
) -> None:
    first = await tokens.issue(APPLICATION, None, ORIGIN)
    other_party = await tokens_with_other_secret(tokens, 1).issue(RUNTIME, None, ORIGIN)
    second = await tokens_with_other_secret(tokens, 2).issue(APPLICATION, None, ORIGIN)

    superseded = {each: await database.read(is_superseded, each.text) for each in (first, other_party, second)}

    assert superseded == {first: True, other_party: False, second: False}


def test_the_text_of_an_issued_token_is_in_no_repr(tokens: TokenIssuer) -> None:
    from connector.tokens import IssuedToken

    assert "moor_" not in repr(IssuedToken("moor_secret", "id", APPLICATION, START))


def is_superseded(tx: Transaction, text: str) -> bool:
    found = store.find_token(tx, OneTimeToken.decode(text).secret_sha256())
    assert found
    return found.superseded


def tokens_with_other_secret(tokens: TokenIssuer, seed: int = 9) -> TokenIssuer:
    return TokenIssuer(
        tokens.database,
        tokens.registry,
        tokens.authority,
        tokens.enrolment_address,
        tokens.default_ttl,
        tokens.clock,
        lambda count: bytes([seed] * count),
    )


@pytest.fixture
def tokens(database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock) -> TokenIssuer:
    registry.known |= {APPLICATION, RUNTIME}
    return TokenIssuer(database, registry, authority, ENROLMENT_ADDRESS, timedelta(hours=1), clock, counting_bytes)

"""Issuing one-time tokens."""

import dataclasses
import uuid
from datetime import timedelta
from typing import Any

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import insert, select

from certs.spiffe import SpiffeId
from certs.token import OneTimeToken
from connector.authority import IssuingAuthority
from connector.store import Transaction, tables
from connector.store.tokens import find_token
from connector.tokens import IssuedToken, ToIssue, TokenIssuer
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import (
    ENROLMENT_ADDRESS,
    ORIGIN,
    START,
    TRUST_DOMAIN,
    FixedClock,
    RegistryDouble,
    token_issuer,
)

APPLICATION = SpiffeId.application(TRUST_DOMAIN, uuid.UUID(int=1))
RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
ADMIN = SpiffeId.admin(TRUST_DOMAIN, "bob")
VIEWER = SpiffeId.viewer(TRUST_DOMAIN, "vic")
SERVICE = SpiffeId.service(TRUST_DOMAIN, "director")


def counting_bytes(count: int) -> bytes:
    return bytes(range(count))


async def test_a_token_carries_the_enrolment_address_and_the_pin_of_every_root(tokens: TokenIssuer) -> None:
    issued = await tokens.issue(ToIssue(APPLICATION), ORIGIN)

    token = OneTimeToken.decode(issued.text)
    assert token.address == ENROLMENT_ADDRESS
    assert token.root_pins == tokens.authority.root_pins
    assert issued.spiffe_id == APPLICATION


async def test_the_database_holds_the_hash_of_a_secret_and_not_the_secret(
    tokens: TokenIssuer, database: Database
) -> None:
    token = OneTimeToken.decode((await tokens.issue(ToIssue(APPLICATION), ORIGIN)).text)

    stored = await database.read(lambda tx: tx.execute(select(tables.tokens)).one())

    assert stored.secret_sha256 == token.secret_sha256()
    assert token.secret not in str(tuple(stored)).encode()
    assert token.secret not in tuple(stored)


async def test_a_token_lives_as_long_as_asked_for_and_an_hour_otherwise(tokens: TokenIssuer) -> None:
    assert (await tokens.issue(ToIssue(APPLICATION), ORIGIN)).expire_time == START + timedelta(hours=1)
    shorter = timedelta(minutes=5)
    assert (
        await tokens_with_other_secret(tokens).issue(ToIssue(APPLICATION, shorter), ORIGIN)
    ).expire_time == START + shorter


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-5), timedelta(days=1, microseconds=1)])
async def test_a_life_beyond_the_ceiling_of_the_kind_or_under_a_second_is_refused(
    tokens: TokenIssuer, database: Database, ttl: timedelta
) -> None:
    with pytest.raises(Refusal) as refused:
        await tokens.issue(ToIssue(APPLICATION, ttl), ORIGIN)

    assert refused.value.reason == Reason.REASON_FIELD_INVALID
    assert [each.field for each in refused.value.violations] == ["ttl"]
    assert await database.read(lambda tx: tx.execute(select(tables.tokens)).all()) == []


@pytest.mark.parametrize("party", [ADMIN, VIEWER, SERVICE], ids=lambda each: each.kind)
async def test_for_a_party_that_is_in_no_registry_the_director_is_not_asked(
    tokens: TokenIssuer, registry: RegistryDouble, party: SpiffeId
) -> None:
    registry.away = True

    assert (await tokens.issue(ToIssue(party), ORIGIN)).spiffe_id == party


async def test_each_kind_of_party_has_a_usual_life_of_its_own(tokens: TokenIssuer) -> None:
    assert (await tokens.issue(ToIssue(ADMIN), ORIGIN)).expire_time == START + timedelta(minutes=30)


async def test_where_a_service_will_be_called_is_kept_with_its_token(tokens: TokenIssuer, database: Database) -> None:
    asked = ToIssue(SERVICE, dns_names=("director.test",), ip_addresses=("2001:DB8:0::1", "2001:db8::1", "192.0.2.1"))

    token = OneTimeToken.decode((await tokens.issue(asked, ORIGIN)).text)

    stored = await database.read(find_token, token.secret_sha256())
    assert stored
    assert stored.dns_names == ("director.test",)
    assert stored.ip_addresses == ("2001:db8::1", "192.0.2.1")


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({"dns_names": ("192.0.2.1",)}, "dns_names"),
        ({"ip_addresses": ("fe80::1%eth0",)}, "ip_addresses"),
        ({"ip_addresses": ("192.0.2.0/24",)}, "ip_addresses"),
    ],
)
async def test_a_name_that_no_certificate_can_carry_is_refused(
    tokens: TokenIssuer, names: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await tokens.issue(ToIssue(SERVICE, **names), ORIGIN)

    assert refused.value.reason == Reason.REASON_FIELD_INVALID
    assert [each.field for each in refused.value.violations] == [field]


@pytest.mark.check("trust-19")
async def test_a_banned_identity_gets_no_token_and_keeps_those_that_it_has(
    tokens: TokenIssuer, database: Database
) -> None:
    first = await tokens.issue(ToIssue(ADMIN), ORIGIN)
    ban = insert(tables.identities).values(
        spiffe_id=str(ADMIN), ban_time=1, revoke_time=1, revocation_reason=0, revoked_by="", revocation_note=""
    )
    await database.write(lambda tx: tx.execute(ban).close())

    with pytest.raises(Refusal) as refused:
        await tokens_with_other_secret(tokens).issue(ToIssue(ADMIN), ORIGIN)

    assert refused.value.reason == Reason.REASON_IDENTITY_BANNED
    assert not await database.read(is_superseded, first.text)


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
        await tokens.issue(ToIssue(party), ORIGIN)

    assert refused.value.reason == reason
    assert [each.field for each in refused.value.violations] == [field]


async def test_while_the_director_is_away_the_caller_is_told_to_come_back(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    registry.away = True

    with pytest.raises(Refusal) as refused:
        await tokens.issue(ToIssue(APPLICATION), ORIGIN)

    assert refused.value.reason == Reason.REASON_DEPENDENCY_UNAVAILABLE
    assert refused.value.metadata == {"service": "director"}
    assert refused.value.retry_after is not None
    assert await database.read(lambda tx: tx.execute(select(tables.tokens)).all()) == []


async def test_issuing_is_audited_with_the_token_id_and_who_asked(tokens: TokenIssuer, database: Database) -> None:
    issued = await tokens.issue(ToIssue(RUNTIME), ORIGIN)

    event = await database.read(lambda tx: tx.execute(select(tables.audit)).one())

    assert (event.action, event.token_id, event.spiffe_id) == ("TOKEN_ISSUED", issued.token_id, str(RUNTIME))
    assert (event.actor, event.address, event.request_id) == (ORIGIN.actor, ORIGIN.address, ORIGIN.request_id)


async def test_a_new_token_supersedes_the_unused_ones_of_the_same_party_only(
    tokens: TokenIssuer, database: Database
) -> None:
    first = await tokens.issue(ToIssue(APPLICATION), ORIGIN)
    other_party = await tokens_with_other_secret(tokens, 1).issue(ToIssue(RUNTIME), ORIGIN)
    second = await tokens_with_other_secret(tokens, 2).issue(ToIssue(APPLICATION), ORIGIN)

    superseded = {each: await database.read(is_superseded, each.text) for each in (first, other_party, second)}

    assert superseded == {first: True, other_party: False, second: False}


def test_the_text_of_an_issued_token_is_in_no_repr() -> None:
    assert "moor_" not in repr(IssuedToken("moor_secret", "id", APPLICATION, START))


def is_superseded(tx: Transaction, text: str) -> bool:
    found = find_token(tx, OneTimeToken.decode(text).secret_sha256())
    assert found
    return found.superseded


def tokens_with_other_secret(tokens: TokenIssuer, seed: int = 9) -> TokenIssuer:
    return dataclasses.replace(tokens, random_bytes=lambda count: bytes([seed] * count))


@pytest.fixture
def tokens(database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock) -> TokenIssuer:
    registry.known |= {APPLICATION, RUNTIME}
    return token_issuer(database, registry, authority, clock, counting_bytes)

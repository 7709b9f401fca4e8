"""What becomes of a token that is to be delivered."""

import asyncio
import uuid
from unittest import mock

import pytest
from moorage.connector.v1.token_pb2 import TokenDeliveryState
from sqlalchemy import Row, select

from certs.spiffe import SpiffeId
from connector import delivery
from connector.authority import IssuingAuthority
from connector.registry import Handover
from connector.store import tables
from connector.tokens import IssuedToken, ToIssue, TokenIssuer
from mesh.database import Database
from tests.unit.connector.plane import ORIGIN, TRUST_DOMAIN, FixedClock, RegistryDouble, token_issuer

APPLICATION = SpiffeId.application(TRUST_DOMAIN, uuid.UUID(int=1))
PENDING = TokenDeliveryState.TOKEN_DELIVERY_STATE_PENDING
DELIVERED = TokenDeliveryState.TOKEN_DELIVERY_STATE_DELIVERED
FAILED = TokenDeliveryState.TOKEN_DELIVERY_STATE_FAILED


@pytest.fixture
def tokens(database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock) -> TokenIssuer:
    return token_issuer(database, registry, authority, clock)


async def issued(tokens: TokenIssuer) -> IssuedToken:
    return await tokens.issue(ToIssue(APPLICATION, deliver=True), ORIGIN)


async def stored(database: Database) -> Row[tuple[object, ...]]:
    return await database.read(lambda tx: tx.execute(select(tables.tokens)).one())


async def actions(database: Database) -> list[str]:
    return await database.read(lambda tx: list(tx.execute(select(tables.audit.c.action)).scalars()))


async def test_it_is_handed_over_and_shown_nowhere_else(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    answer = await issued(tokens)

    [line] = registry.delivered
    assert (answer.text, line[:5]) == ("", "moor_")
    row = await stored(database)
    assert (row.token_id, row.delivery_state, row.revoke_time) == (answer.token_id, DELIVERED, None)
    assert row.delivery_time is not None
    assert await actions(database) == ["TOKEN_ISSUED", "TOKEN_DELIVERED"]


async def test_one_that_was_not_taken_is_revoked(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    registry.handover = Handover("answered 500")

    await issued(tokens)

    row = await stored(database)
    assert (row.delivery_state, row.delivery_failure) == (FAILED, "answered 500")
    assert row.revoke_time is not None
    assert await actions(database) == ["TOKEN_ISSUED", "TOKEN_REVOKED"]


async def test_one_that_was_used_before_its_webhook_answered_badly_stays_used(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    registry.handover = Handover("answered 500")

    async def use() -> None:
        used = tables.tokens.update().values(use_time=1, public_key_sha256=bytes(32))
        await database.write(lambda tx: tx.execute(used).close())

    registry.on_delivery = use
    await issued(tokens)

    row = await stored(database)
    assert (row.delivery_state, row.revoke_time) == (FAILED, None)


async def test_it_is_noted_though_whoever_asked_has_gone(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    at_the_webhook, answers = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        at_the_webhook.set()
        await answers.wait()

    registry.on_delivery = wait
    asking = asyncio.create_task(issued(tokens))
    await at_the_webhook.wait()
    assert (await stored(database)).delivery_state == PENDING
    asking.cancel()
    await asyncio.wait([asking])
    answers.set()
    await tokens.deliveries.close()

    assert (await stored(database)).delivery_state == DELIVERED


async def test_one_that_is_under_way_for_too_long_as_the_connector_stops_stays_pending(
    tokens: TokenIssuer, registry: RegistryDouble, database: Database
) -> None:
    at_the_webhook = asyncio.Event()

    async def wait() -> None:
        at_the_webhook.set()
        await asyncio.Event().wait()

    registry.on_delivery = wait
    asking = asyncio.create_task(issued(tokens))
    await at_the_webhook.wait()
    with mock.patch.object(delivery, "STOP_WITHIN", 0.01):
        await tokens.deliveries.close()
    await asyncio.wait([asking])

    assert (await stored(database)).delivery_state == PENDING

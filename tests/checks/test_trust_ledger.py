"""Trust: a token earns one certificate, and no certificate leaves that the ledger does not have, whatever fails."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import grpc
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, EnrollResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.keys import new_key
from certs.request import make_csr
from mesh.errors import Problem
from tests.support.connectors import PATIENCE, Connectors
from tests.support.wait import eventually

SERVICE = "moorage.connector.v1.Connector"


@pytest.mark.check("trust-01")
async def test_of_50_enrolments_with_one_token_at_two_connectors_one_gets_a_certificate(
    connectors: Connectors,
) -> None:
    token = await connectors.token()
    stubs = [connectors.newcomer(number % 2) for number in range(50)]

    outcomes = await asyncio.gather(
        *(enroll(stub, token, make_csr(new_key())) for stub in stubs), return_exceptions=True
    )

    refused = [Problem.of(each).reason for each in outcomes if isinstance(each, grpc.RpcError)]
    assert refused == ["TOKEN_REFUSED"] * 49
    [held] = [leaf_of(each) for each in outcomes if isinstance(each, EnrollResponse)]
    assert ledger(connectors) == [held.public_bytes(Encoding.DER)]


@pytest.mark.check("trust-05")
async def test_what_was_planned_when_a_connector_was_killed_is_completed_by_another_under_the_same_serial(
    connectors: Connectors,
) -> None:
    token, csr = await connectors.token(), make_csr(new_key())
    with held_up(connectors):
        lost = asyncio.ensure_future(enroll(connectors.newcomer(0), token, csr))
        await eventually("the plan is there", lambda: planned(connectors))
        await connectors.kill(0)
        with pytest.raises(grpc.RpcError):
            await lost
    [(serial,)] = connectors.sql("SELECT serial_number FROM certificates WHERE certificate_der = ''")

    other_key = await problem_of_enrolment(connectors.newcomer(1), token, make_csr(new_key()))
    answer = await enroll(connectors.newcomer(1), token, csr)

    assert other_key.is_reason(Reason.REASON_TOKEN_REFUSED)
    assert answer.identity.serial_number == serial
    assert ledger(connectors) == [leaf_of(answer).public_bytes(Encoding.DER)]


@pytest.mark.check("trust-05")
async def test_a_reply_that_is_lost_is_had_again_from_the_other_connector(connectors: Connectors) -> None:
    token, csr = await connectors.token(), make_csr(new_key())
    first = await enroll(connectors.newcomer(0), token, csr)

    again = await enroll(connectors.newcomer(1), token, csr)

    assert again.identity == first.identity
    assert ledger(connectors) == [leaf_of(first).public_bytes(Encoding.DER)]
    other_key = await problem_of_enrolment(connectors.newcomer(1), token, make_csr(new_key()))
    assert other_key.is_reason(Reason.REASON_TOKEN_REFUSED)


@pytest.mark.check("trust-23")
async def test_a_connector_killed_at_full_load_leaves_nothing_unrecorded_and_nobody_behind(
    connectors: Connectors,
) -> None:
    names = [f"viewer-{number}" for number in range(120)]
    tokens = await asyncio.gather(*(connectors.token(number % 2, viewer=name) for number, name in enumerate(names)))
    load = Load(connectors, iter(tokens))

    workers = [asyncio.create_task(load.work()) for _ in range(16)]
    await eventually("the load runs", load.is_under_way)
    await connectors.kill(0)
    load.survivors = itertools.repeat(1)
    await asyncio.gather(*workers)

    assert set(load.failures) == {grpc.StatusCode.UNAVAILABLE}, "the one that was killed was asked"
    held = sorted(leaf.public_bytes(Encoding.DER) for leaf in load.held)
    assert len(held) == len(tokens)
    assert held == sorted(ledger(connectors))
    [(rows, serials, earned)] = connectors.sql(
        "SELECT count(*), count(DISTINCT serial_number), count(DISTINCT token_id) FROM certificates "
        "WHERE token_id IS NOT NULL"
    )
    assert (rows, serials, earned) == (len(tokens),) * 3
    [(used,)] = connectors.sql("SELECT count(*) FROM tokens WHERE use_time IS NOT NULL")
    assert used == len(tokens)


@pytest.mark.check("trust-24")
@pytest.mark.parametrize("fails", ["the plan", "the certificate"])
async def test_when_the_ledger_cannot_be_written_nothing_leaves_and_the_connector_is_not_ready_but_live(
    connectors: Connectors, fails: str
) -> None:
    token, csr = await connectors.token(), make_csr(new_key())
    event = "INSERT" if fails == "the plan" else "UPDATE"

    with trigger(connectors, event, "RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'"):
        async with not_ready_but_live(connectors):
            refused = await problem_of_enrolment(connectors.newcomer(0), token, csr)
    await ready(connectors)

    assert refused.is_reason(Reason.REASON_DATABASE_UNAVAILABLE)
    assert ledger(connectors) == []
    answer = await enroll(connectors.newcomer(0), token, csr)
    assert ledger(connectors) == [leaf_of(answer).public_bytes(Encoding.DER)]


@pytest.mark.check("trust-24")
async def test_when_the_database_is_read_only_nothing_leaves_and_the_connector_is_not_ready_but_live(
    connectors: Connectors,
) -> None:
    token, csr = await connectors.token(), make_csr(new_key())

    with read_only(connectors):
        async with not_ready_but_live(connectors):
            refused = await problem_of_enrolment(connectors.newcomer(0), token, csr)
    await ready(connectors)

    assert refused.is_reason(Reason.REASON_DATABASE_UNAVAILABLE)
    assert ledger(connectors) == []
    answer = await enroll(connectors.newcomer(0), token, csr)
    assert ledger(connectors) == [leaf_of(answer).public_bytes(Encoding.DER)]


@pytest.mark.check("trust-24")
async def test_when_the_ledger_is_too_slow_nothing_leaves_and_the_connector_is_not_ready_but_live(
    connectors: Connectors,
) -> None:
    token, csr = await connectors.token(), make_csr(new_key())

    with trigger(connectors, "UPDATE", "PERFORM pg_sleep(60)"):
        async with not_ready_but_live(connectors):
            refused = await problem_of_enrolment(connectors.newcomer(0), token, csr)
        assert ledger(connectors) == []
    await ready(connectors)

    assert refused.is_reason(Reason.REASON_DATABASE_UNAVAILABLE)
    answer = await enroll(connectors.newcomer(0), token, csr)
    assert ledger(connectors) == [leaf_of(answer).public_bytes(Encoding.DER)]


@dataclass
class Load:
    """Newcomers that enrol, each with a token and a key of its own, and go on at the other Connector when one fails."""

    connectors: Connectors
    tokens: Iterator[str]
    held: list[x509.Certificate] = field(default_factory=list)
    failures: list[grpc.StatusCode] = field(default_factory=list)
    survivors: Iterator[int] = field(default_factory=lambda: itertools.cycle((0, 1)))

    async def is_under_way(self) -> bool:
        return len(self.held) >= 30

    async def work(self) -> None:
        for token in self.tokens:
            csr = make_csr(new_key())
            while True:
                try:
                    answer = await enroll(self.connectors.newcomer(next(self.survivors)), token, csr)
                except grpc.aio.AioRpcError as error:
                    self.failures.append(error.code())
                else:
                    self.held.append(leaf_of(answer))
                    break


async def enroll(stub: ConnectorStub, token: str, csr: bytes) -> EnrollResponse:
    return await stub.Enroll(EnrollRequest(token=token, csr=csr), timeout=PATIENCE)


async def problem_of_enrolment(stub: ConnectorStub, token: str, csr: bytes) -> Problem:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await enroll(stub, token, csr)
    return Problem.of(caught.value)


def leaf_of(answer: EnrollResponse) -> x509.Certificate:
    return x509.load_pem_x509_certificates(answer.identity.certificate_chain_pem.encode())[0]


def ledger(connectors: Connectors) -> list[bytes]:
    """The certificates that tokens earned, without plans."""
    rows = connectors.sql(
        "SELECT certificate_der FROM certificates WHERE token_id IS NOT NULL AND certificate_der != ''"
    )
    return [bytes(der) for (der,) in rows]


async def planned(connectors: Connectors) -> bool:
    return bool(connectors.sql("SELECT 1 FROM certificates WHERE certificate_der = ''"))


@contextmanager
def trigger(connectors: Connectors, event: str, body: str) -> Iterator[None]:
    """Has the database do something whenever a row of the ledger is inserted, or updated."""
    connectors.sql(f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$")
    connectors.sql(f"CREATE TRIGGER meddle BEFORE {event} ON certificates FOR EACH ROW EXECUTE FUNCTION meddle()")
    try:
        yield
    finally:
        connectors.sql("DROP FUNCTION meddle CASCADE")


@contextmanager
def held_up(connectors: Connectors) -> Iterator[None]:
    """Has whoever writes a certificate into its row wait until this ends."""
    with psycopg.connect(connectors.database, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(1)")
        with trigger(connectors, "UPDATE", "PERFORM pg_advisory_xact_lock_shared(1)"):
            yield
            # Those that wait belong to a Connector that is gone: they would commit nothing, but hold the row.
            connectors.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


@contextmanager
def read_only(connectors: Connectors) -> Iterator[None]:
    """The database takes no writes, and those who are connected have to connect anew."""
    [(name,)] = connectors.sql("SELECT current_database()")
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid != pg_backend_pid()"
    connectors.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    connectors.sql(others, name)
    try:
        yield
    finally:
        with psycopg.connect(connectors.database, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        connectors.sql(others, name)


@asynccontextmanager
async def not_ready_but_live(connectors: Connectors) -> AsyncIterator[None]:
    """What is called within fails, and the first Connector then says of itself what it is."""

    async def is_seen() -> bool:
        assert await connectors.health(0, "") == "SERVING"
        return await connectors.health(0, SERVICE) == "NOT_SERVING"

    watching = asyncio.create_task(eventually("the Connector is not ready", is_seen, within=PATIENCE))
    yield
    await watching


async def ready(connectors: Connectors) -> None:
    async def is_ready() -> bool:
        return await connectors.health(0, SERVICE) == "SERVING"

    await eventually("the Connector is ready again", is_ready, within=PATIENCE)

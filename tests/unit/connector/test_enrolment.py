"""Turning one-time tokens into identities."""

import asyncio
import dataclasses
import os
import uuid
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Row, select, text

from certs.check import check_svid, verify_chain
from certs.keys import new_key, public_key_sha256
from certs.request import make_csr
from certs.spiffe import SpiffeId
from certs.token import OneTimeToken
from connector.authority import IssuingAuthority
from connector.enrolment import Enrolment
from connector.ledger import Ledger
from connector.store import Origin, Transaction, tables
from connector.tokens import ToIssue, TokenIssuer
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, START, TRUST_DOMAIN, UNLIMITED, FixedClock, RegistryDouble, token_issuer

RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
NEWCOMER = Origin(actor="", address="ipv4:203.0.113.7:50000", request_id="req-2")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


async def test_an_enrolled_party_gets_a_certificate_for_its_own_key_and_the_tokens_identity(
    enrolment: Enrolment, token: str
) -> None:
    key = new_key()

    issued = await enrolment.enrol(token, make_csr(key), NEWCOMER)

    leaf, *intermediates = x509.load_pem_x509_certificates(issued.chain_pem)
    verify_chain(leaf, intermediates, enrolment.ledger.authority.roots, START)
    assert check_svid(leaf) == RUNTIME
    assert public_key_sha256(leaf.public_key()) == public_key_sha256(key.public_key())
    assert leaf.not_valid_after_utc == START + timedelta(days=1)


async def test_each_identity_that_left_is_told_of_and_no_refusal_is(enrolment: Enrolment, token: str) -> None:
    told: list[SpiffeId] = []
    telling = dataclasses.replace(enrolment, on_enrolled=told.append)
    key = new_key()
    with pytest.raises(Refusal):
        await telling.enrol(token, b"no request", NEWCOMER)
    for _ in range(2):
        await telling.enrol(token, make_csr(key), NEWCOMER)
    with pytest.raises(Refusal):
        await telling.enrol(token, make_csr(new_key()), NEWCOMER)
    assert told == [RUNTIME, RUNTIME]


async def test_what_left_is_in_the_ledger_with_the_token_that_earned_it(
    enrolment: Enrolment, token: str, database: Database
) -> None:
    issued = await enrolment.enrol(token, make_csr(new_key()), NEWCOMER)

    [row] = await rows(database, tables.certificates)
    leaf = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    assert row.certificate_der == leaf.public_bytes(serialization.Encoding.DER)
    assert (row.serial_number, row.spiffe_id) == (issued.entry.serial_number, str(RUNTIME))
    assert row.token_id is not None
    assert row.token_id == (await last_event(database)).token_id


@pytest.mark.check("trust-01")
async def test_of_50_parallel_enrolments_with_one_token_one_gets_a_certificate(
    enrolment: Enrolment, token: str, database: Database
) -> None:
    attempts = (enrolment.enrol(token, make_csr(new_key()), NEWCOMER) for _ in range(50))

    outcomes = await asyncio.gather(*attempts, return_exceptions=True)

    refused = [each for each in outcomes if isinstance(each, Refusal)]
    assert [each.reason for each in refused] == [Reason.REASON_TOKEN_REFUSED] * 49
    assert len(outcomes) - len(refused) == 1
    assert len(await rows(database, tables.certificates)) == 1


@pytest.mark.check("trust-02")
async def test_a_used_token_is_refused_like_an_unknown_one(
    enrolment: Enrolment, token: str, database: Database
) -> None:
    await enrolment.enrol(token, make_csr(new_key()), NEWCOMER)

    used = await refusal(enrolment, token)
    used_event = await last_event(database)
    unknown = await refusal(enrolment, another_planes_token())

    assert used.to_status("r") == unknown.to_status("r")
    assert used.reason == Reason.REASON_TOKEN_REFUSED
    [stored] = await rows(database, tables.tokens)
    assert (used_event.action, used_event.token_id) == ("TOKEN_REFUSED", stored.token_id)
    assert (used_event.address, used_event.detail) == (NEWCOMER.address, "used")


async def test_tokens_that_anybody_can_make_up_leave_nothing_in_the_database(
    enrolment: Enrolment, database: Database
) -> None:
    before = await rows(database, tables.audit)

    assert (await refusal(enrolment, another_planes_token())).reason == Reason.REASON_TOKEN_REFUSED

    assert await rows(database, tables.audit) == before


@pytest.mark.check("trust-03")
@pytest.mark.parametrize(("offset", "accepted"), [(-SECOND, True), (0 * SECOND, False), (SECOND, False)])
async def test_a_token_works_until_its_expiry_and_not_at_it(
    enrolment: Enrolment, token: str, clock: FixedClock, offset: timedelta, accepted: bool
) -> None:
    clock.now = START + HOUR + offset

    if accepted:
        await enrolment.enrol(token, make_csr(new_key()), NEWCOMER)
    else:
        assert (await refusal(enrolment, token)).reason == Reason.REASON_TOKEN_REFUSED


@pytest.mark.check("trust-05")
async def test_the_same_token_and_key_get_the_same_certificate_again(
    enrolment: Enrolment, token: str, database: Database
) -> None:
    key = new_key()

    first = await enrolment.enrol(token, make_csr(key), NEWCOMER)
    again = await enrolment.enrol(token, make_csr(key), NEWCOMER)

    assert again == first
    assert len(await rows(database, tables.certificates)) == 1
    assert (await last_event(database)).action == "ENROLLED_AGAIN"


@pytest.mark.check("trust-05")
async def test_the_same_token_with_another_key_is_refused(enrolment: Enrolment, token: str, database: Database) -> None:
    await enrolment.enrol(token, make_csr(new_key()), NEWCOMER)

    assert (await refusal(enrolment, token)).reason == Reason.REASON_TOKEN_REFUSED
    assert len(await rows(database, tables.certificates)) == 1


async def test_a_retry_after_the_tokens_time_is_refused(enrolment: Enrolment, token: str, clock: FixedClock) -> None:
    csr = make_csr(new_key())
    await enrolment.enrol(token, csr, NEWCOMER)
    clock.now = START + HOUR

    assert (await refusal(enrolment, token, csr)).reason == Reason.REASON_TOKEN_REFUSED


async def test_a_superseded_token_is_refused(
    enrolment: Enrolment, token: str, tokens: TokenIssuer, database: Database
) -> None:
    newer = await tokens.issue(ToIssue(RUNTIME), ORIGIN)

    assert (await refusal(enrolment, token)).reason == Reason.REASON_TOKEN_REFUSED
    assert (await last_event(database)).detail == "superseded"
    await enrolment.enrol(newer.text, make_csr(new_key()), NEWCOMER)


def bad_csrs() -> dict[str, bytes]:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    good = make_csr(new_key())
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "bad signature": good[:-1] + bytes([good[-1] ^ 1]),
        "weak key": builder.sign(ec.generate_private_key(ec.SECP192R1()), hashes.SHA256()).public_bytes(
            serialization.Encoding.DER
        ),
        "foreign key type": builder.sign(rsa_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER),
        "1 MB": good + bytes(1024 * 1024),
        "garbage": b"\x00garbage",
    }


@pytest.mark.check("trust-06")
@pytest.mark.parametrize(("what", "csr"), bad_csrs().items(), ids=bad_csrs())
async def test_a_bad_csr_is_refused_by_its_field_and_the_token_still_works(
    enrolment: Enrolment, token: str, what: str, csr: bytes
) -> None:
    refused = await refusal(enrolment, token, csr)

    assert refused.reason == Reason.REASON_CSR_REFUSED, what
    assert [each.field for each in refused.violations] == ["csr"]
    await enrolment.enrol(token, make_csr(new_key()), NEWCOMER)


@pytest.mark.check("trust-07")
async def test_nothing_that_a_csr_asks_for_is_honoured(enrolment: Enrolment, token: str) -> None:
    key = new_key()
    other = SpiffeId.admin(TRUST_DOMAIN, "mallory")
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(str(other)), x509.DNSName("director.plane.test")]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )

    issued = await enrolment.enrol(token, greedy.public_bytes(serialization.Encoding.DER), NEWCOMER)

    leaf = x509.load_pem_x509_certificates(issued.chain_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(str(RUNTIME))]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.not_valid_after_utc == START + timedelta(days=1)
    assert list(leaf.subject) == []


@pytest.mark.parametrize("cut", [1, 10, 60])
async def test_a_truncated_token_is_malformed_and_not_refused(enrolment: Enrolment, token: str, cut: int) -> None:
    refused = await refusal(enrolment, token[:-cut])

    assert refused.reason == Reason.REASON_TOKEN_MALFORMED
    assert [each.field for each in refused.violations] == ["token"]
    assert token[:-cut] not in str(refused.to_status())


async def test_when_the_ledger_cannot_be_written_the_token_is_not_used_up(
    enrolment: Enrolment, token: str, database: Database
) -> None:
    await database.write(execute, "ALTER TABLE certificates RENAME TO away")
    assert (await refusal(enrolment, token)).reason == Reason.REASON_DATABASE_UNAVAILABLE
    await database.write(execute, "ALTER TABLE away RENAME TO certificates")

    await enrolment.enrol(token, make_csr(new_key()), NEWCOMER)


def execute(tx: Transaction, statement: str) -> None:
    tx.execute(text(statement))


async def refusal(enrolment: Enrolment, token: str, csr: bytes | None = None) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await enrolment.enrol(token, csr or make_csr(new_key()), NEWCOMER)
    return refused.value


def another_planes_token() -> str:
    return OneTimeToken("elsewhere.test:7445", (bytes(32),), os.urandom(32)).encode()


async def rows(database: Database, table: Any) -> list[Row[Any]]:
    def read(tx: Transaction) -> list[Row[Any]]:
        return list(tx.execute(select(table)).all())

    return await database.read(read)


async def last_event(database: Database) -> Row[Any]:
    return (await rows(database, tables.audit))[-1]


@pytest.fixture
def tokens(database: Database, registry: RegistryDouble, authority: IssuingAuthority, clock: FixedClock) -> TokenIssuer:
    registry.known.add(RUNTIME)
    return token_issuer(database, registry, authority, clock)


@pytest.fixture
def enrolment(database: Database, authority: IssuingAuthority, clock: FixedClock) -> Enrolment:
    return Enrolment(Ledger(database, authority, clock), UNLIMITED)


@pytest.fixture
async def token(tokens: TokenIssuer) -> str:
    return (await tokens.issue(ToIssue(RUNTIME), ORIGIN)).text

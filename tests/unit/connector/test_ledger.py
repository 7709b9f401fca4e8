"""Issuing on the record: what becomes of a plan."""

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from moorage.connector.v1.certificate_pb2 import CertificateOrigin
from moorage.connector.v1.identity_pb2 import RevocationAction
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import select, text

from certs.authority import create_issuing, create_root
from certs.issue import IssuedCertificate, PlannedCertificate
from certs.keys import new_key
from certs.request import make_csr
from certs.spiffe import SpiffeId
from certs.token import OneTimeToken
from connector import identities
from connector.authority import IssuingAuthority
from connector.enrolment import Enrolment
from connector.ledger import Issued, Ledger, ToIssue
from connector.limits import Allowance, RateLimits
from connector.revocations import revoke_certificates
from connector.store import Action, Origin, Transaction, tables
from connector.store.authorities import record_authority
from connector.store.certificates import LedgerEntry, find_certificate, insert_certificate
from connector.store.revocations import create_ledger
from connector.store.tokens import NewToken, insert_token
from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.connector.plane import ORIGIN, PROFILES, START, TRUST_DOMAIN, UNLIMITED, FixedClock

RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))
DIRECTOR = SpiffeId.service(TRUST_DOMAIN, "director")
NEWCOMER = Origin(actor="", address="ipv4:203.0.113.7:50000", request_id="req-2")
TOKEN_ID = "22222222-2222-4222-8222-222222222222"
HOUR = timedelta(hours=1)
EVICT = RevocationAction.REVOCATION_ACTION_EVICT
WITHDRAWN = RevocationReason.REVOCATION_REASON_PRIVILEGE_WITHDRAWN


@dataclass(frozen=True)
class StoppedAuthority(IssuingAuthority):
    """Ends before it signs: as a process does that is killed between the plan and the certificate."""

    def sign(self, planned: PlannedCertificate) -> IssuedCertificate:
        raise ConnectionAbortedError


@dataclass(frozen=True)
class SlowAuthority(IssuingAuthority):
    """Lets a test do something between the plan and the certificate."""

    meanwhile: Callable[[str], None] = lambda _: None

    def sign(self, planned: PlannedCertificate) -> IssuedCertificate:
        self.meanwhile(planned.serial_hex)
        return super().sign(planned)


@pytest.fixture
async def ledger(database: Database, authority: IssuingAuthority, clock: FixedClock) -> Ledger:
    await database.write(create_ledger, str(uuid.uuid4()))
    return Ledger(database, authority, clock)


@pytest.fixture
async def token(ledger: Ledger) -> str:
    return await token_for(ledger, RUNTIME)


async def token_for(
    ledger: Ledger, party: SpiffeId, dns_names: tuple[str, ...] = (), ip_addresses: tuple[str, ...] = ()
) -> str:
    token = OneTimeToken("plane.test:7445", ledger.authority.root_pins, uuid.uuid4().bytes * 2)
    stored = NewToken(
        token_id=TOKEN_ID,
        secret_sha256=token.secret_sha256(),
        spiffe_id=str(party),
        issue_time=START,
        expire_time=START + 24 * HOUR,
        issuer="",
        dns_names=dns_names,
        ip_addresses=ip_addresses,
    )
    await ledger.database.write(insert_token, stored)
    return token.encode()


async def enrol(ledger: Ledger, token: str, key: ec.EllipticCurvePrivateKey) -> Issued:
    return await Enrolment(ledger, UNLIMITED).enrol(token, make_csr(key), NEWCOMER)


async def refusal(ledger: Ledger, token: str, key: ec.EllipticCurvePrivateKey) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await enrol(ledger, token, key)
    return refused.value


async def left_planned(ledger: Ledger, token: str, key: ec.EllipticCurvePrivateKey) -> LedgerEntry:
    stopped = StoppedAuthority(ledger.authority.authority, PROFILES, ledger.clock)
    with pytest.raises(ConnectionAbortedError):
        await enrol(replace(ledger, authority=stopped), token, key)
    [entry] = await entries(ledger)
    return entry


async def entries(ledger: Ledger) -> list[LedgerEntry]:
    def read(tx: Transaction) -> list[LedgerEntry]:
        serials = tx.execute(select(tables.certificates.c.serial_number)).scalars()
        return [entry for entry in (find_certificate(tx, each) for each in serials) if entry]

    return await ledger.database.read(read)


async def actions(ledger: Ledger) -> list[str]:
    query = select(tables.audit.c.action).order_by(tables.audit.c.event_id)
    return list(await ledger.database.read(lambda tx: tx.execute(query).scalars().all()))


def leaf_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificates(issued.chain_pem)[0]


async def test_serial_and_bytes_are_in_the_ledger_before_anything_is_signed(ledger: Ledger, token: str) -> None:
    entry = await left_planned(ledger, token, new_key())

    assert (entry.planned, entry.certificate_der) == (True, b"")
    assert entry.planned_tbs
    assert entry.serial_number in entry.planned_tbs.hex()
    assert entry.token_id == TOKEN_ID
    assert await actions(ledger) == []


@pytest.mark.check("trust-05")
async def test_what_was_planned_is_what_the_same_token_and_key_then_get(ledger: Ledger, token: str) -> None:
    key = new_key()
    plan = await left_planned(ledger, token, key)

    issued = await enrol(ledger, token, key)

    assert leaf_of(issued).tbs_certificate_bytes == plan.planned_tbs
    assert issued.entry.serial_number == plan.serial_number
    assert [each.planned for each in await entries(ledger)] == [False]
    assert await actions(ledger) == [Action.ENROLLED]


@pytest.mark.check("trust-05")
async def test_a_plan_is_for_the_key_that_it_was_made_for(ledger: Ledger, token: str) -> None:
    await left_planned(ledger, token, new_key())

    assert (await refusal(ledger, token, new_key())).reason == Reason.REASON_TOKEN_REFUSED


async def test_a_plan_whose_authority_was_replaced_gives_way_to_another(
    ledger: Ledger, token: str, clock: FixedClock
) -> None:
    key = new_key()
    plan = await left_planned(ledger, token, key)
    next_one = create_issuing(create_root(TRUST_DOMAIN, clock), clock)
    authority = IssuingAuthority(next_one, PROFILES, clock)
    await ledger.database.write(record_authority, authority.sha256, authority.chain_pem)

    issued = await enrol(replace(ledger, authority=authority), token, key)

    assert issued.entry.serial_number != plan.serial_number
    assert issued.entry.authority_sha256 == authority.sha256
    assert {each.serial_number: each.planned for each in await entries(ledger)} == {
        plan.serial_number: True,
        issued.entry.serial_number: False,
    }


async def test_a_plan_whose_time_is_over_gives_way_to_another(ledger: Ledger, token: str, clock: FixedClock) -> None:
    key = new_key()
    plan = await left_planned(ledger, token, key)
    await ledger.database.write(_expire)

    issued = await enrol(ledger, token, key)

    assert issued.entry.serial_number != plan.serial_number
    assert issued.entry.not_after > clock.now


async def test_what_is_revoked_before_it_is_signed_never_leaves(ledger: Ledger, token: str) -> None:
    def evict(serial: str) -> None:
        with ledger.database.engine.begin() as tx:
            identities.revoke(tx, ORIGIN, START, str(RUNTIME), EVICT, WITHDRAWN)

    authority = SlowAuthority(ledger.authority.authority, PROFILES, ledger.clock, evict)

    refused = await refusal(replace(ledger, authority=authority), token, new_key())

    assert refused.reason == Reason.REASON_TOKEN_REFUSED
    assert [each.planned for each in await entries(ledger)] == [True]


async def test_of_two_that_complete_one_plan_both_get_the_same_certificate(ledger: Ledger, token: str) -> None:
    key = new_key()
    faster: list[Issued] = []

    def overtake(serial: str) -> None:
        if not faster:
            with ThreadPoolExecutor(1) as apart:  # an event loop of its own needs a thread of its own
                faster.append(apart.submit(asyncio.run, enrol(replace(ledger, database=other), token, key)).result())

    other = Database.open(str(ledger.database.engine.url))
    try:
        authority = SlowAuthority(ledger.authority.authority, PROFILES, ledger.clock, overtake)
        slower = await enrol(replace(ledger, authority=authority), token, key)
    finally:
        other.close()

    assert slower.chain_pem == faster[0].chain_pem


async def test_a_certificate_that_was_revoked_is_not_given_out_again(ledger: Ledger, token: str) -> None:
    key = new_key()
    issued = await enrol(ledger, token, key)
    await ledger.database.write(revoke_certificates, ORIGIN, START, [issued.entry.serial_number], WITHDRAWN)

    assert (await refusal(ledger, token, key)).reason == Reason.REASON_TOKEN_REFUSED


@pytest.mark.check("trust-19")
async def test_a_token_of_an_identity_that_was_banned_is_refused_like_an_unknown_one(
    ledger: Ledger, token: str
) -> None:
    ban = RevocationAction.REVOCATION_ACTION_BAN
    unknown = await refusal(ledger, OneTimeToken("plane.test:7445", (bytes(32),), bytes(32)).encode(), new_key())

    await ledger.database.write(identities.revoke, ORIGIN, START, str(RUNTIME), ban, WITHDRAWN)

    assert (await refusal(ledger, token, new_key())).to_status("r") == unknown.to_status("r")
    assert await entries(ledger) == []


async def test_a_service_is_given_the_host_names_of_its_token(ledger: Ledger) -> None:
    token = await token_for(ledger, DIRECTOR, ("director.plane.test",), ("2001:db8::1",))

    names = leaf_of(await enrol(ledger, token, new_key())).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )

    assert names.value.get_values_for_type(x509.DNSName) == ["director.plane.test"]
    assert names.value.get_values_for_type(x509.IPAddress) == [ip_address("2001:db8::1")]


async def test_what_is_issued_is_under_the_authority_that_the_ledger_names(ledger: Ledger) -> None:
    def plan(tx: Transaction) -> LedgerEntry:
        origin = CertificateOrigin.CERTIFICATE_ORIGIN_RENEWED
        draft = ledger.draft(ToIssue(RUNTIME, new_key().public_key(), origin), START)
        insert_certificate(tx, draft)
        return draft

    issued = await ledger.issue(plan, Action.RENEWED, ORIGIN)

    assert issued
    leaf, *chain = x509.load_pem_x509_certificates(issued.chain_pem)
    leaf.verify_directly_issued_by(chain[0])
    assert chain == [ledger.authority.authority.certificate]


@pytest.mark.parametrize("kind", ["address", "identity"])
async def test_whoever_asks_too_often_is_told_when_to_come_again_and_the_token_still_works(
    ledger: Ledger, token: str, kind: str
) -> None:
    allowances = {"address": Allowance(0, 0), "identity": Allowance(0, 0), kind: Allowance(0.01, 1)}
    limited = Enrolment(ledger, RateLimits(allowances))  # type: ignore[arg-type]  # `kind` is one of the two
    with pytest.raises(Refusal):
        await limited.enrol(token, b"no request", NEWCOMER)

    with pytest.raises(Refusal) as refused:
        await limited.enrol(token, make_csr(new_key()), NEWCOMER)

    assert refused.value.reason == Reason.REASON_RATE_LIMITED
    assert refused.value.retry_after
    await enrol(ledger, token, new_key())


def _expire(tx: Transaction) -> None:
    tx.execute(text("UPDATE certificates SET not_after = not_before"))

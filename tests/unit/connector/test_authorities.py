"""What an instance makes of the issuing authorities, and of first identities, when it starts."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import CertificateOrigin, CertificateState

from certs.authority import create_issuing, create_root
from certs.issue import issue
from certs.keys import new_key
from certs.spiffe import SpiffeId
from connector.authorities import retired_hashes, settle_authorities
from connector.authority import IssuingAuthority
from connector.first_identities import read_first_identities, take_in_first
from connector.store.authorities import all_authorities
from connector.store.certificates import find_certificate
from connector.store.revocations import Kind, create_ledger, live_authorities, read_since
from mesh.database import Database
from mesh.exits import Stopped
from tests.unit.connector.plane import PROFILES, START, TRUST_DOMAIN, FixedClock

NOTHING: frozenset[bytes] = frozenset()
ANN = SpiffeId.admin(TRUST_DOMAIN, "ann")
DAY = timedelta(days=1)


@pytest.fixture
async def ledger(database: Database, authority: IssuingAuthority) -> Database:
    """A ledger with one authority, as the release before has it."""
    await database.write(create_ledger, str(uuid.uuid4()))
    return database


def another(clock: FixedClock) -> IssuingAuthority:
    return IssuingAuthority(create_issuing(create_root(TRUST_DOMAIN, clock), clock), PROFILES, clock)


async def live(ledger: Database) -> set[bytes]:
    return {each.authority_sha256 for each in await ledger.read(live_authorities, START)}


async def test_what_the_release_before_did_not_note_of_an_authority_is_filled_in(
    ledger: Database, authority: IssuingAuthority
) -> None:
    await ledger.write(settle_authorities, authority, NOTHING, START)

    [stored] = await ledger.read(all_authorities)
    assert stored.certificate_der == authority.authority.certificate.public_bytes(Encoding.DER)
    assert stored.key_identifier == authority.key_identifier
    assert stored.root_sha256 == authority.root_pins[0]
    assert stored.not_after == authority.authority.certificate.not_valid_after_utc
    assert await live(ledger) == {authority.sha256}


async def test_a_new_authority_is_told_to_every_service_and_a_start_that_changes_nothing_is_not(
    ledger: Database, authority: IssuingAuthority, clock: FixedClock
) -> None:
    await ledger.write(settle_authorities, authority, NOTHING, START)
    before = len(await ledger.read(read_since, 0))
    await ledger.write(settle_authorities, authority, NOTHING, START)
    assert len(await ledger.read(read_since, 0)) == before

    newer = another(clock)
    await ledger.write(settle_authorities, newer, NOTHING, START)

    assert [each.kind for each in await ledger.read(read_since, 0)][before:] == [Kind.AUTHORITIES]
    assert await live(ledger) == {authority.sha256, newer.sha256}


@pytest.mark.check("trust-22")
@pytest.mark.parametrize("by", ["authority", "root"])
async def test_a_retired_authority_does_not_count_until_it_is_brought_back(
    ledger: Database, authority: IssuingAuthority, clock: FixedClock, by: str
) -> None:
    await ledger.write(settle_authorities, authority, NOTHING, START)
    newer = another(clock)
    retired = frozenset({authority.sha256 if by == "authority" else authority.root_pins[0]})

    await ledger.write(settle_authorities, newer, retired, START)
    assert await live(ledger) == {newer.sha256}

    await ledger.write(settle_authorities, newer, NOTHING, START)
    assert await live(ledger) == {authority.sha256, newer.sha256}


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 31])
def test_what_is_no_hash_retires_nothing(authority: IssuingAuthority, text: str) -> None:
    with pytest.raises(Stopped, match="SHA-256"):
        retired_hashes([text], authority)


def test_hashes_are_taken_as_openssl_prints_them(authority: IssuingAuthority) -> None:
    printed = ":".join(["AB"] * 32)

    assert retired_hashes([printed], authority) == {bytes([0xAB] * 32)}


def test_the_authority_in_use_is_not_retired_nor_its_root(authority: IssuingAuthority) -> None:
    for each in (authority.sha256, authority.root_pins[0]):
        with pytest.raises(Stopped, match="issuing_authority"):
            retired_hashes([each.hex()], authority)


async def test_first_identities_are_taken_into_the_ledger_once(
    ledger: Database, authority: IssuingAuthority, clock: FixedClock, tmp_path: Path
) -> None:
    await ledger.write(settle_authorities, authority, NOTHING, START)
    issued = issue(authority.authority, new_key().public_key(), ANN, DAY, clock)
    (tmp_path / "tls.crt").write_bytes(issued.chain_pem)

    for _ in range(2):
        await ledger.write(take_in_first, read_first_identities([str(tmp_path / "tls.crt")]), START)

    entry = await ledger.read(find_certificate, issued.serial_hex)
    assert entry
    assert (entry.spiffe_id, entry.origin) == (str(ANN), CertificateOrigin.CERTIFICATE_ORIGIN_BOOTSTRAPPED)
    assert entry.issue_time == START
    assert entry.state(START) == CertificateState.CERTIFICATE_STATE_ACTIVE


async def test_what_no_authority_of_the_ledger_signed_is_not_taken_in(
    ledger: Database, authority: IssuingAuthority, clock: FixedClock
) -> None:
    await ledger.write(settle_authorities, authority, NOTHING, START)
    foreign = issue(another(clock).authority, new_key().public_key(), ANN, DAY, clock)

    await ledger.write(take_in_first, [foreign.certificate], START)

    assert await ledger.read(find_certificate, foreign.serial_hex) is None


@pytest.mark.parametrize("content", [None, b"garbage"], ids=["missing", "garbage"])
def test_a_file_without_a_certificate_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "tls.crt"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(Stopped, match=f"first_identities.*{file}"):
        read_first_identities([str(file)])

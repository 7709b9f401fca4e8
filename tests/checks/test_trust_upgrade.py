"""Trust, while Connectors of one release are replaced by those of the next, one after the other."""

import hashlib
import shutil
import uuid
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from moorage.connector.v1.certificate_pb2 import (
    Certificate,
    CertificateOrigin,
    CertificateState,
    GetCertificateRequest,
    RevokeCertificateRequest,
)
from moorage.connector.v1.revocation_pb2 import RevocationReason

import connector.migrations
from certs.clock import system_clock
from certs.identity import Identity
from certs.keys import public_key_sha256
from certs.token import OneTimeToken
from mesh.database import Database
from mesh.errors import Problem
from tests.integration.connector.plane import RUNTIME_ID, problem_of
from tests.support.connectors import PATIENCE, Connectors
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually

pytestmark = [pytest.mark.check("trust-25"), pytest.mark.timeout(180)]

HEAD = connector.migrations.HEAD
NEXT = f"{int(HEAD) + 1:04}"
MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table("berths", sa.Column("name", sa.Text, primary_key=True))
    op.add_column("certificates", sa.Column("berth", sa.Text))
    op.add_column("tokens", sa.Column("berth", sa.Text, nullable=False, server_default=""))
    op.create_index("ix_certificates_berth", "certificates", ["berth"])
'''

SPIFFE_ID = f"spiffe://moorage.test/runtime/{RUNTIME_ID}"


async def test_enrolling_renewing_and_revoking_work_at_each_step_from_one_schema_to_the_next(
    stopped_connectors: Connectors, tmp_path: Path
) -> None:
    connectors = stopped_connectors
    next_release = make_next_release(tmp_path / "next")
    await connectors.start()
    kept = await works(connectors, tmp_path / "old beside old", None)
    assert version(connectors) == HEAD

    await replace(connectors, 1, next_release)
    assert version(connectors) == NEXT
    kept = await works(connectors, tmp_path / "old beside new", kept)

    await replace(connectors, 0, None)  # as when its host is restarted meanwhile
    kept = await works(connectors, tmp_path / "old, restarted, beside new", kept)
    assert "the database is of a later version" in connectors.log(0)

    await replace(connectors, 0, next_release)
    kept = await works(connectors, tmp_path / "new beside new", kept)

    await replace(connectors, 1, None)  # the way back is open
    await works(connectors, tmp_path / "new beside old again", kept)
    assert version(connectors) == NEXT


async def test_what_the_first_release_wrote_is_used_and_listed_also_while_an_instance_of_it_still_writes(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    url = postgresql.url(postgresql.create_database())
    make_first_schema(url)
    connectors = Connectors(tmp_path, postgresql, database=url)
    try:
        first = FirstRelease(connectors, tmp_path)
        identity, token = first.has_enrolled(), first.issues_token()
        await connectors.start()
        await used(connectors, tmp_path / "from before", identity, token)

        identity, token = first.has_enrolled(), first.issues_token()
        await used(connectors, tmp_path / "written meanwhile", identity, token)
    finally:
        await connectors.close()


class FirstRelease:
    """An instance of the release that had the first schema: the statements by which it wrote."""

    def __init__(self, connectors: Connectors, folder: Path) -> None:
        self._connectors = connectors
        self._folder = folder
        authority = connectors.mint.issuing
        self._authority_sha256 = authority.certificate.fingerprint(hashes.SHA256())
        connectors.sql(
            "INSERT INTO authorities (authority_sha256, chain_pem) VALUES (%s, %s)",
            self._authority_sha256,
            authority.certificate.public_bytes(Encoding.PEM),
        )

    def issues_token(self) -> str:
        """A token for the Runtime that nobody has used; its text."""
        connectors = self._connectors
        connectors.sql(
            "UPDATE tokens SET supersede_time = %s"
            " WHERE spiffe_id = %s AND use_time IS NULL AND supersede_time IS NULL",
            micros(),
            SPIFFE_ID,
        )
        secret = uuid.uuid4().bytes + uuid.uuid4().bytes
        token = OneTimeToken(
            connectors.planes[0].settings["enrolment_address"],
            (connectors.mint.root.certificate.fingerprint(hashes.SHA256()),),
            secret,
        )
        connectors.sql(
            "INSERT INTO tokens (token_id, secret_sha256, spiffe_id, issue_time, expire_time)"
            " VALUES (%s, %s, %s, %s, %s)",
            str(uuid.uuid4()),
            token.secret_sha256(),
            SPIFFE_ID,
            micros(),
            micros(timedelta(hours=1)),
        )
        return token.encode()

    def has_enrolled(self) -> Identity:
        """The Runtime, by a token that it used up."""
        identity = self._connectors.mint.identity("runtime", RUNTIME_ID, folder=self._folder / str(uuid.uuid4()))
        leaf = x509.load_pem_x509_certificates(identity.load().chain_pem)[0]
        token_id, key_sha256 = str(uuid.uuid4()), public_key_sha256(leaf.public_key())
        now = micros()
        self._connectors.sql(
            "INSERT INTO tokens (token_id, secret_sha256, spiffe_id, issue_time, expire_time, use_time,"
            " public_key_sha256) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            *(token_id, hashlib.sha256(token_id.encode()).digest(), SPIFFE_ID, now, now + 3_600_000_000, now),
            key_sha256,
        )
        self._connectors.sql(
            "INSERT INTO certificates (serial_number, spiffe_id, public_key_sha256, certificate_der, authority_sha256,"
            " not_before, not_after, issue_time, token_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(identity.load().serial, SPIFFE_ID, key_sha256, leaf.public_bytes(Encoding.DER), self._authority_sha256),
            *(int(each.timestamp() * 1e6) for each in (leaf.not_valid_before_utc, leaf.not_valid_after_utc)),
            *(now, token_id),
        )
        self._connectors.sql(
            "INSERT INTO audit (time, action, actor, address, request_id, spiffe_id, token_id, serial_number, detail)"
            " VALUES (%s, 'ENROLLED', '', '127.0.0.1:1', 'r', %s, %s, %s, '')",
            *(now, SPIFFE_ID, token_id, identity.load().serial),
        )
        return identity


async def works(connectors: Connectors, folder: Path, kept: Identity | None) -> Identity:
    """Enrol, renew and revoke, each at both instances; what was enrolled the step before is renewed, too.

    Returns an identity for the next step.
    """
    admin = connectors.connector
    for one, other in ((0, 1), (1, 0)):
        enrolled = await connectors.enrol(other, await connectors.token(one), folder / f"enrolled-{one}")
        renewed = await connectors.renew(one, enrolled, folder / f"renewed-{one}")
        serial = renewed.load().serial
        await admin(other).RevokeCertificate(_revoke(serial), timeout=PATIENCE)
        for number in (one, other):
            assert (await read(connectors, number, serial)).state == CertificateState.CERTIFICATE_STATE_REVOKED
            await refused(connectors, number, renewed, folder)
    if kept is not None:
        await connectors.renew(0, kept, folder / "kept")
    return await connectors.enrol(0, await connectors.token(1), folder / "to keep")


async def used(connectors: Connectors, folder: Path, identity: Identity, token: str) -> None:
    """What the first release wrote is renewed, listed and revoked, and its token enrols, once."""
    serial = identity.load().serial
    there = await read(connectors, 0, serial)
    assert there.state == CertificateState.CERTIFICATE_STATE_ACTIVE
    assert there.origin == CertificateOrigin.CERTIFICATE_ORIGIN_ENROLLED
    renewed = await connectors.renew(1, identity, folder / "renewed")
    enrolled = await connectors.enrol(0, token, folder / "enrolled")
    assert enrolled.load().spiffe_id == renewed.load().spiffe_id
    again = await problem_of(connectors.enrol(1, token, folder / "again"))
    assert again.reason == "TOKEN_REFUSED"
    await connectors.connector(1).RevokeCertificate(_revoke(serial), timeout=PATIENCE)
    await refused(connectors, 0, identity, folder)


async def refused(connectors: Connectors, number: int, identity: Identity, folder: Path) -> None:
    async def problem() -> Problem | None:
        try:
            await connectors.renew(number, identity, folder / str(uuid.uuid4()))
        except grpc.aio.AioRpcError as error:
            return Problem.of(error)
        return None

    seen = await eventually("the revoked certificate is refused", problem)
    assert seen.reason == "CERTIFICATE_REVOKED"


async def read(connectors: Connectors, number: int, serial: str) -> Certificate:
    request = GetCertificateRequest(serial_number=serial)
    return (await connectors.connector(number).GetCertificate(request, timeout=PATIENCE)).certificate


async def replace(connectors: Connectors, number: int, release: Path | None) -> None:
    """Stop an instance, and start it from another release, or from this one."""
    assert await connectors.stop(number) == 0
    connectors.planes[number].release = release
    await connectors.planes[number].start()


def make_next_release(folder: Path) -> Path:
    """A release like this one whose schema has more, and nothing less."""
    package = Path(*connector.migrations.__path__).parent
    copy = folder / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "migrations" / "versions" / f"{NEXT}_berths.py").write_text(MIGRATION)
    constants = copy / "migrations" / "__init__.py"
    constants.write_text(constants.read_text().replace(f'HEAD = "{HEAD}"', f'HEAD = "{NEXT}"'))
    tables = copy / "store" / "tables.py"
    column = 'Column("revocation_note", Text),\n'
    assert column in tables.read_text()
    tables.write_text(tables.read_text().replace(column, f'{column}    Column("berth", Text),\n', 1))
    return folder


def make_first_schema(url: str) -> None:
    """The tables of the first release, by its own migration."""
    scripts = ScriptDirectory(Path(*connector.migrations.__path__))
    with closing(Database.open(url)) as database, database.engine.begin() as tx:
        context = MigrationContext.configure(tx)
        with Operations.context(context):
            _first(scripts)
        context.stamp(scripts, "0001")


def _first(scripts: ScriptDirectory) -> None:
    script = scripts.get_revision("0001")
    assert script is not None
    script.module.upgrade()


def _revoke(serial: str) -> RevokeCertificateRequest:
    return RevokeCertificateRequest(
        serial_number=serial, reason=RevocationReason.REVOCATION_REASON_CESSATION_OF_OPERATION
    )


def version(connectors: Connectors) -> str:
    [(number,)] = connectors.sql("SELECT version_num FROM alembic_version")
    return str(number)


def micros(later: timedelta = timedelta()) -> int:
    return int((system_clock() + later).timestamp() * 1e6)

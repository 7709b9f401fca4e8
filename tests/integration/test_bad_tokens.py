"""Tokens and requests that give no identity, at a whole plane: what is told, and that nothing is used up or left."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, EnrollResponse
from moorage.connector.v1.token_pb2 import IssueTokenRequest, IssueTokenResponse
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest

from certs.keys import new_key
from certs.request import make_csr
from certs.token import OneTimeToken
from mesh.channel import open_pinned_channel
from mesh.enrolment import PENDING_KEY_FILE
from mesh.errors import Problem
from mesh.exits import Exit
from tests.support.plane import Up
from tests.support.registry import refused
from tests.support.wait import eventually

Issue = Callable[[int], Awaitable[IssueTokenResponse]]

TTL = 600


@pytest.fixture(scope="module")
def another_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("another") / "home") as up:
        yield up


@pytest.fixture
async def issue(up: Up) -> AsyncIterator[Issue]:
    """Issues tokens that work for so many seconds, each for a new Application."""
    async with up.party() as admin:

        async def issue(seconds: int) -> IssueTokenResponse:
            application = Application(name=f"newcomer-{datetime.now(UTC):%H%M%S%f}")
            created = await admin.director.CreateApplication(CreateApplicationRequest(application=application))
            return await admin.connector.IssueToken(
                IssueTokenRequest(application_id=created.application.application_id, ttl=Duration(seconds=seconds))
            )

        yield issue


@pytest.fixture
async def newcomer(up: Up) -> AsyncIterator[ConnectorStub]:
    """The Connector as somebody without a certificate reaches it."""
    roots = (up.home / "identities" / "admin" / "ca.crt").read_bytes()
    async with open_pinned_channel(up.plane.enrolment, roots) as channel:
        yield ConnectorStub(channel)


@pytest.mark.parametrize("csr", [b"garbage", b"\x30\x82\xff\xff", bytes(20_000), b"x" * 1_000_000])
async def test_a_garbage_csr_is_the_field_at_fault_and_the_token_still_works(
    csr: bytes, issue: Issue, newcomer: ConnectorStub
) -> None:
    issued = await issue(TTL)
    problem = await refused(newcomer.Enroll(EnrollRequest(token=issued.token, csr=csr)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CSR_REFUSED")
    assert [each.field for each in problem.violations] == ["csr"]
    assert await _works(issued, newcomer)


async def test_a_field_that_is_missing_is_named_and_the_token_still_works(
    issue: Issue, newcomer: ConnectorStub
) -> None:
    issued = await issue(TTL)
    for field, request in (
        ("token", EnrollRequest(csr=make_csr(new_key()))),
        ("csr", EnrollRequest(token=issued.token)),
    ):
        problem = await refused(newcomer.Enroll(request))
        assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
        assert [each.field for each in problem.violations] == [field]
    assert await _works(issued, newcomer)


async def test_a_truncated_token_is_malformed_and_works_when_it_is_whole(issue: Issue, newcomer: ConnectorStub) -> None:
    issued = await issue(TTL)
    for length in (len("moor_"), len(issued.token) // 2, len(issued.token) - 1):
        problem = await refused(_enroll(newcomer, issued.token[:length]))
        assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOKEN_MALFORMED")
        assert [each.field for each in problem.violations] == ["token"]
    assert await _works(issued, newcomer)


async def test_a_used_token_is_refused(issue: Issue, newcomer: ConnectorStub) -> None:
    issued = await issue(TTL)
    assert await _works(issued, newcomer)
    assert _is_refused(await refused(_enroll(newcomer, issued.token)))


async def test_an_expired_token_is_refused(issue: Issue, newcomer: ConnectorStub) -> None:
    issued = await issue(1)
    expiry = issued.expire_time.ToDatetime(UTC)

    async def expired() -> bool:
        return datetime.now(UTC) >= expiry

    await eventually("the token's expiry", expired, within=5)
    assert _is_refused(await refused(_enroll(newcomer, issued.token)))


async def test_a_token_of_another_plane_is_refused_and_works_there(another_up: Up, newcomer: ConnectorStub) -> None:
    token = _foreign_token(another_up)
    assert _is_refused(await refused(_enroll(newcomer, token)))
    roots = (another_up.home / "identities" / "admin" / "ca.crt").read_bytes()
    async with open_pinned_channel(another_up.plane.enrolment, roots) as channel:
        assert (await _enroll(ConnectorStub(channel), token)).identity.spiffe_id


async def test_used_unknown_expired_and_foreign_tokens_cannot_be_told_apart(
    issue: Issue, another_up: Up, newcomer: ConnectorStub
) -> None:
    used = await issue(TTL)
    assert await _works(used, newcomer)
    own = OneTimeToken.decode(used.token)
    unknown = OneTimeToken(own.address, own.root_pins, bytes(32)).encode()
    told = [await refused(_enroll(newcomer, token)) for token in (used.token, unknown, _foreign_token(another_up))]
    assert len({(problem.code, problem.message, problem.remedy) for problem in told}) == 1


@pytest.mark.parametrize("cut", [1, 40])
async def test_pairing_with_a_truncated_token_sends_nothing_and_writes_nothing(
    cut: int, up: Up, issue: Issue, newcomer: ConnectorStub, tmp_path: Path
) -> None:
    issued = await issue(TTL)
    code, line = _paired(up, issued.token[:-cut], tmp_path / "identity")
    assert code == Exit.TOKEN_MALFORMED
    assert "its end is missing" in line or "copy the whole line" in line
    assert not (tmp_path / "identity").exists()
    assert await _works(issued, newcomer)


async def test_pairing_with_a_used_token_says_to_ask_for_a_new_one_and_leaves_no_identity(
    up: Up, issue: Issue, newcomer: ConnectorStub, tmp_path: Path
) -> None:
    issued = await issue(TTL)
    assert await _works(issued, newcomer)
    code, line = _paired(up, issued.token, tmp_path / "identity")
    assert code == Exit.TOKEN_REFUSED
    assert "Ask an administrator for a new token" in line
    assert not (tmp_path / "identity" / "tls.crt").exists()


async def test_pairing_with_what_is_not_the_token_s_plane_sends_no_secret(
    up: Up, another_up: Up, tmp_path: Path
) -> None:
    foreign = OneTimeToken.decode(_foreign_token(another_up))
    here = OneTimeToken(up.plane.enrolment, foreign.root_pins, foreign.secret)
    code, line = _paired(up, here.encode(), tmp_path / "identity")
    assert code == Exit.PIN_MISMATCH
    assert "nothing secret was sent" in line
    assert "ask for a new token if the plane has moved" in line
    there = OneTimeToken(another_up.plane.enrolment, foreign.root_pins, foreign.secret)
    done = another_up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=there.encode())
    assert done.returncode == Exit.OK, done.stderr
    assert not (tmp_path / "identity" / PENDING_KEY_FILE).exists()


async def _works(issued: IssueTokenResponse, newcomer: ConnectorStub) -> bool:
    """Whether the token gives the identity that it is for; it is used up then."""
    return (await _enroll(newcomer, issued.token)).identity.spiffe_id == issued.spiffe_id


async def _enroll(newcomer: ConnectorStub, token: str) -> EnrollResponse:
    return await newcomer.Enroll(EnrollRequest(token=token, csr=make_csr(new_key())))


def _foreign_token(another: Up) -> str:
    """A new token of another plane."""
    name = f"newcomer-{datetime.now(UTC):%H%M%S%f}"
    assert another.moorage("application", "create", name).returncode == Exit.OK
    issued = another.moorage("token", "issue", "--application", name)
    assert issued.returncode == Exit.OK, issued.stderr
    return issued.stdout.strip()


def _is_refused(problem: Problem) -> bool:
    return (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REFUSED")


def _paired(up: Up, token: str, out: Path) -> tuple[int, str]:
    """The exit code and the one line of a `moorage pair` that gives nothing."""
    done = up.moorage("pair", "-", "--out", str(out), stdin=token)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return done.returncode, line

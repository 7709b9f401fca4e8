"""One-time tokens while the Director is away or the Connector ends, by its settings, and in a list of them all."""

import asyncio
import signal
from pathlib import Path

import grpc
import pytest
from moorage.connector.v1.token_pb2 import (
    IssueTokenRequest,
    ListTokensRequest,
    Token,
    TokenState,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.spiffe import SpiffeId
from certs.token import OneTimeToken
from mesh.enrolment import enrol
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, UNKNOWN_ID, Plane, problem_of
from tests.integration.connector.test_tokens import PENDING, delivered_of, issued, token
from tests.support.identities import TRUST_DOMAIN
from tests.support.wait import eventually


async def test_while_the_director_is_away_the_caller_is_told_which_service_and_when_to_retry(plane: Plane) -> None:
    await plane.stop_director()

    problem = await problem_of(plane.connector().IssueToken(IssueTokenRequest(runtime_id=RUNTIME_ID), timeout=5))

    assert problem.code == grpc.StatusCode.UNAVAILABLE
    assert problem.is_reason(Reason.REASON_DEPENDENCY_UNAVAILABLE)
    assert problem.metadata["service"] == "director"
    assert problem.retry_after is not None


async def test_a_life_above_what_the_operator_allows_is_refused(stopped_plane: Plane) -> None:
    stopped_plane.settings |= {"viewer_token_ttl": "60", "viewer_token_ttl_ceiling": "120"}
    await stopped_plane.start()
    asked = IssueTokenRequest(viewer="vic")

    usual = await token(stopped_plane, (await issued(stopped_plane, asked)).token_id)
    asked.ttl.FromSeconds(121)
    problem = await problem_of(issued(stopped_plane, asked))

    assert usual.expire_time.seconds - usual.issue_time.seconds == 60
    assert problem.is_reason(Reason.REASON_FIELD_INVALID)
    assert [each.field for each in problem.violations] == ["ttl"]


async def test_a_list_of_tokens_goes_on_from_page_to_page_and_shows_no_token(plane: Plane) -> None:
    responses = [await issued(plane, IssueTokenRequest(viewer=f"v{number}")) for number in range(5)]
    request = ListTokensRequest(page_size=2)
    seen: list[Token] = []
    while True:
        page = await plane.connector().ListTokens(request, timeout=5)
        seen += page.tokens
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert [each.token_id for each in seen] == [each.token_id for each in reversed(responses)]
    assert not [each for each in responses if each.token[5:] in str(seen)]
    request.states.append(TokenState.TOKEN_STATE_USED)
    problem = await problem_of(plane.connector().ListTokens(request, timeout=5))
    assert problem.is_reason(Reason.REASON_PAGE_TOKEN_INVALID)


async def test_a_token_is_delivered_to_no_application_that_there_is_not_and_not_while_the_director_is_away(
    plane: Plane,
) -> None:
    unknown = await problem_of(issued(plane, IssueTokenRequest(application_id=UNKNOWN_ID, deliver=True)))
    await plane.stop_director()
    away = await problem_of(issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True)))

    assert unknown.is_reason(Reason.REASON_APPLICATION_NOT_FOUND)
    assert away.is_reason(Reason.REASON_DEPENDENCY_UNAVAILABLE)
    assert plane.rows("SELECT 1 FROM tokens") == []


@pytest.mark.check("trust-11")
async def test_a_delivery_that_kill_9_interrupts_stays_pending_and_leaves_the_token_at_rest_nowhere(
    plane: Plane,
) -> None:
    plane.director.webhook_answers.clear()
    asking = asyncio.ensure_future(issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True)))
    await eventually("the delivery", lambda: delivered_of(plane))
    await plane.end(signal.SIGKILL)
    await asyncio.wait([asking])
    plane.director.webhook_answers.set()
    await plane.start()

    [delivered] = plane.director.delivered
    after = await token(plane, delivered.token_id)
    assert (after.state, after.delivery.state) == (TokenState.TOKEN_STATE_ACTIVE, PENDING)
    assert len(plane.director.delivered) == 1
    await plane.end(signal.SIGTERM)
    written = b"".join(path.read_bytes() for path in (*plane.folder.glob("connector.sqlite*"), plane.log))
    assert delivered.token.encode() not in written
    assert OneTimeToken.decode(delivered.token).secret not in written


async def test_a_delivery_that_hangs_does_not_keep_the_connector_from_stopping(plane: Plane) -> None:
    plane.director.webhook_answers.clear()
    asking = asyncio.ensure_future(issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True)))
    await eventually("the delivery", lambda: delivered_of(plane))

    async with asyncio.timeout(10):
        assert await plane.end(signal.SIGTERM) == 0

    await asyncio.wait([asking])
    [stored] = plane.rows("SELECT delivery_state FROM tokens")
    assert stored["delivery_state"] == PENDING
    plane.director.webhook_answers.set()


@pytest.mark.parametrize(
    ("asked", "spiffe_id"),
    [
        (IssueTokenRequest(admin="bob"), SpiffeId.admin(TRUST_DOMAIN, "bob")),
        (IssueTokenRequest(viewer="vic"), SpiffeId.viewer(TRUST_DOMAIN, "vic")),
    ],
    ids=["admin", "viewer"],
)
async def test_people_enrol_as_applications_do_and_the_director_is_not_asked(
    plane: Plane, tmp_path: Path, asked: IssueTokenRequest, spiffe_id: SpiffeId
) -> None:
    await plane.stop_director()
    identity = Identity(tmp_path / "newcomer")

    await enrol(OneTimeToken.decode((await issued(plane, asked)).token), identity)

    assert identity.load().spiffe_id == spiffe_id
    listed = await plane.connector(identity).ListTokens(ListTokensRequest(spiffe_id=str(spiffe_id)), timeout=5)
    assert [each.state for each in listed.tokens] == [TokenState.TOKEN_STATE_USED]

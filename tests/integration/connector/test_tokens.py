"""One-time tokens of the real Connector: asked for, used, looked at, revoked and handed over."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest
from moorage.connector.v1.token_pb2 import (
    GetTokenRequest,
    IssueTokenRequest,
    IssueTokenResponse,
    RevokeTokenRequest,
    Token,
    TokenDeliveryState,
    TokenState,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.keys import new_key
from certs.request import make_csr
from certs.token import OneTimeToken
from mesh.channel import open_pinned_channel
from mesh.enrolment import enrol
from mesh.errors import Problem
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, UNKNOWN_ID, Plane, problem_of
from tests.support.identities import TRUST_DOMAIN
from tests.support.wait import eventually

DELIVERED = TokenDeliveryState.TOKEN_DELIVERY_STATE_DELIVERED
FAILED = TokenDeliveryState.TOKEN_DELIVERY_STATE_FAILED
PENDING = TokenDeliveryState.TOKEN_DELIVERY_STATE_PENDING

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def plane(shared_plane: Plane) -> Plane:
    return shared_plane


async def test_the_director_is_asked_over_mtls_as_the_connector(plane: Plane) -> None:
    application_id = plane.director.registered()

    response = await plane.connector().IssueToken(IssueTokenRequest(application_id=application_id), timeout=5)

    assert plane.director.asked_by == ["spiffe://moorage.test/service/connector"]
    assert response.spiffe_id == f"spiffe://moorage.test/application/{application_id}"
    assert OneTimeToken.decode(response.token).address == plane.settings["enrolment_address"]


@pytest.mark.parametrize(
    ("request_for", "reason", "field"),
    [
        (IssueTokenRequest(application_id=UNKNOWN_ID), Reason.REASON_APPLICATION_NOT_FOUND, "application_id"),
        (IssueTokenRequest(runtime_id=UNKNOWN_ID), Reason.REASON_RUNTIME_NOT_FOUND, "runtime_id"),
    ],
    ids=["application", "runtime"],
)
async def test_an_unknown_party_is_not_found_by_its_field(
    plane: Plane, request_for: IssueTokenRequest, reason: Reason.ValueType, field: str
) -> None:
    problem = await problem_of(plane.connector().IssueToken(request_for, timeout=5))

    assert problem.code == grpc.StatusCode.NOT_FOUND
    assert problem.is_reason(reason)
    assert [each.field for each in problem.violations] == [field]


async def test_a_runtime_may_not_issue_tokens_and_a_provisioner_only_for_runtimes(plane: Plane) -> None:
    runtime = plane.connector(plane.mint.identity("runtime", RUNTIME_ID))
    provisioner = plane.connector(plane.mint.identity("service", "provisioner"))
    for_runtime = IssueTokenRequest(runtime_id=RUNTIME_ID)

    problems = [
        await problem_of(runtime.IssueToken(for_runtime, timeout=5)),
        await problem_of(provisioner.IssueToken(IssueTokenRequest(application_id=APPLICATION_ID), timeout=5)),
    ]

    assert [each.reason for each in problems] == ["ACCESS_DENIED", "ACCESS_DENIED"]
    assert (await provisioner.IssueToken(for_runtime, timeout=5)).token


async def test_malformed_requests_are_refused_by_their_fields(plane: Plane) -> None:
    too_long = IssueTokenRequest(runtime_id=RUNTIME_ID)
    too_long.ttl.FromSeconds(86401)

    problems = {
        "application_id": IssueTokenRequest(application_id="not-a-uuid"),
        "ttl": too_long,
        "party": IssueTokenRequest(),
    }
    fields = {
        name: (await problem_of(plane.connector().IssueToken(request, timeout=5))).violations[0].field
        for name, request in problems.items()
    }

    assert fields == {name: name for name in problems}


@pytest.mark.check("trust-02")
async def test_whatever_is_wrong_with_a_token_the_refusal_is_the_same_and_audited(plane: Plane) -> None:
    before = plane.last_event
    short = IssueTokenRequest(viewer="expired")
    short.ttl.FromSeconds(1)
    responses = {
        "used": await issued(plane, IssueTokenRequest(viewer="used")),
        "expired": await issued(plane, short),
        "revoked": await issued(plane, IssueTokenRequest(viewer="revoked")),
        "superseded": await issued(plane, IssueTokenRequest(viewer="superseded")),
    }
    await enroll(plane, responses["used"].token)
    await plane.connector().RevokeToken(RevokeTokenRequest(token_id=responses["revoked"].token_id), timeout=5)
    await issued(plane, IssueTokenRequest(viewer="superseded"))
    await in_state(plane, responses["expired"].token_id, TokenState.TOKEN_STATE_EXPIRED)
    known = OneTimeToken.decode(responses["used"].token)
    unknown = OneTimeToken(known.address, known.root_pins, os.urandom(32))

    problems = {name: await problem_of(enroll(plane, each.token)) for name, each in responses.items()}
    of_unknown = await problem_of(enroll(plane, unknown.encode()))

    assert of_unknown.is_reason(Reason.REASON_TOKEN_REFUSED)
    assert of_unknown.code == grpc.StatusCode.UNAUTHENTICATED
    for problem in problems.values():
        assert seen_by_a_stranger(problem) == seen_by_a_stranger(of_unknown)
    events = plane.rows(f"SELECT * FROM audit WHERE action = 'TOKEN_REFUSED' AND event_id > {before}")
    assert {each["detail"]: each["token_id"] for each in events} == {
        name: response.token_id for name, response in responses.items()
    }
    assert {each["request_id"] for each in events} == {each.metadata["request_id"] for each in problems.values()}
    assert all(each["address"].startswith("ipv4:127.0.0.1:") for each in events)


@pytest.mark.check("trust-03")
async def test_a_token_works_before_its_end_and_not_after_it(plane: Plane) -> None:
    asked = IssueTokenRequest(viewer="vic")
    asked.ttl.FromSeconds(2)
    late = await issued(plane, asked)
    asked.viewer = "ann"
    asked.ttl.FromSeconds(30)
    early = await issued(plane, asked)

    await enroll(plane, early.token)
    await in_state(plane, late.token_id, TokenState.TOKEN_STATE_EXPIRED)
    problem = await problem_of(enroll(plane, late.token))

    assert problem.is_reason(Reason.REASON_TOKEN_REFUSED)


async def test_a_used_token_names_what_it_earned_and_cannot_be_revoked(plane: Plane, tmp_path: Path) -> None:
    response = await issued(plane, IssueTokenRequest(viewer="vic"))
    identity = Identity(tmp_path / "newcomer")
    await enrol(OneTimeToken.decode(response.token), identity)

    used = await token(plane, response.token_id)
    revoking = plane.connector().RevokeToken(RevokeTokenRequest(token_id=response.token_id), timeout=5)
    problem = await problem_of(revoking)

    assert used.state == TokenState.TOKEN_STATE_USED
    assert used.issuer == f"spiffe://{TRUST_DOMAIN}/admin/ann"
    assert used.serial_number == identity.load().serial
    assert used.use_time.seconds >= used.issue_time.seconds
    assert problem.is_reason(Reason.REASON_TOKEN_USED)
    assert problem.metadata["serial_number"] == used.serial_number


async def test_revoking_a_token_again_changes_nothing_and_is_audited_once(plane: Plane) -> None:
    before = plane.last_event
    response = await issued(plane, IssueTokenRequest(viewer="vic"))
    request = RevokeTokenRequest(token_id=response.token_id)

    first = (await plane.connector().RevokeToken(request, timeout=5)).token
    again = (await plane.connector().RevokeToken(request, timeout=5)).token

    assert first == again
    assert first.state == TokenState.TOKEN_STATE_REVOKED
    [event] = plane.rows(f"SELECT * FROM audit WHERE action = 'TOKEN_REVOKED' AND event_id > {before}")
    assert (event["token_id"], event["actor"]) == (response.token_id, f"spiffe://{TRUST_DOMAIN}/admin/ann")


async def test_a_token_that_there_is_not_is_not_found(plane: Plane) -> None:
    for call in (
        plane.connector().GetToken(GetTokenRequest(token_id=UNKNOWN_ID), timeout=5),
        plane.connector().RevokeToken(RevokeTokenRequest(token_id=UNKNOWN_ID), timeout=5),
    ):
        assert (await problem_of(call)).is_reason(Reason.REASON_TOKEN_NOT_FOUND)


async def test_a_viewer_looks_at_tokens_and_ends_none(plane: Plane) -> None:
    response = await issued(plane, IssueTokenRequest(viewer="vic"))
    viewer = plane.connector(plane.mint.identity("viewer", "vic"))

    assert (await viewer.GetToken(GetTokenRequest(token_id=response.token_id), timeout=5)).token.token_id
    problem = await problem_of(viewer.RevokeToken(RevokeTokenRequest(token_id=response.token_id), timeout=5))
    assert problem.is_reason(Reason.REASON_ACCESS_DENIED)


async def test_a_token_that_is_delivered_is_handed_over_once_and_shown_to_nobody_else(plane: Plane) -> None:
    before = plane.last_event
    response = await issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True))

    assert (response.token, response.delivery.state) == ("", DELIVERED)
    [delivered] = plane.director.delivered
    assert (delivered.token_id, delivered.expire_time) == (response.token_id, response.expire_time)
    assert (await token(plane, response.token_id)).delivery.state == DELIVERED
    assert len(plane.rows(f"SELECT 1 FROM audit WHERE action = 'TOKEN_DELIVERED' AND event_id > {before}")) == 1
    await enroll(plane, delivered.token)


async def test_a_token_that_the_webhook_did_not_take_is_revoked(plane: Plane) -> None:
    plane.director.webhook_failure = "answered 500"

    response = await issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True))

    assert (response.token, response.delivery.state, response.delivery.failure) == ("", FAILED, "answered 500")
    [delivered] = plane.director.delivered
    assert (await token(plane, response.token_id)).state == TokenState.TOKEN_STATE_REVOKED
    assert (await problem_of(enroll(plane, delivered.token))).is_reason(Reason.REASON_TOKEN_REFUSED)


async def test_without_a_pairing_url_nothing_is_issued_and_nothing_superseded(plane: Plane) -> None:
    first = await issued(plane, IssueTokenRequest(application_id=APPLICATION_ID))
    before = plane.rows("SELECT token_id FROM tokens")
    plane.director.pairing_urls.clear()

    problem = await problem_of(issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True)))

    assert problem.is_reason(Reason.REASON_PAIRING_URL_MISSING)
    assert plane.rows("SELECT token_id FROM tokens") == before
    assert (await token(plane, first.token_id)).state == TokenState.TOKEN_STATE_ACTIVE


async def test_what_comes_of_a_delivery_is_noted_though_whoever_asked_for_it_has_gone(plane: Plane) -> None:
    plane.director.webhook_answers.clear()
    asking = asyncio.ensure_future(issued(plane, IssueTokenRequest(application_id=APPLICATION_ID, deliver=True)))
    await eventually("the delivery", lambda: delivered_of(plane))
    asking.cancel()
    await asyncio.wait([asking])
    plane.director.webhook_answers.set()

    [delivered] = plane.director.delivered
    await delivery_in_state(plane, delivered.token_id, DELIVERED)


async def issued(plane: Plane, request: IssueTokenRequest) -> IssueTokenResponse:
    return await plane.connector().IssueToken(request, timeout=30, wait_for_ready=True)


async def token(plane: Plane, token_id: str) -> Token:
    response = await plane.connector().GetToken(GetTokenRequest(token_id=token_id), timeout=20, wait_for_ready=True)
    return response.token


async def in_state(plane: Plane, token_id: str, state: TokenState.ValueType) -> None:
    async def look() -> bool:
        return (await token(plane, token_id)).state == state

    await eventually(f"the token is {TokenState.Name(state)}", look)


async def delivery_in_state(plane: Plane, token_id: str, state: TokenDeliveryState.ValueType) -> None:
    async def look() -> bool:
        return (await token(plane, token_id)).delivery.state == state

    await eventually(f"its delivery is {TokenDeliveryState.Name(state)}", look)


async def delivered_of(plane: Plane) -> bool:
    return bool(plane.director.delivered)


async def enroll(plane: Plane, text: str) -> None:
    request = EnrollRequest(token=text, csr=make_csr(new_key()))
    async with open_pinned_channel(plane.settings["enrolment_address"], plane.mint.root.chain_pem) as channel:
        await ConnectorStub(channel).Enroll(request, timeout=20, wait_for_ready=True)


def seen_by_a_stranger(problem: Problem) -> tuple[object, ...]:
    """All of a refusal but the id of the call."""
    metadata = {name for name in problem.metadata if name != "request_id"}
    return (problem.code, problem.reason, problem.message, problem.remedy, problem.violations, metadata)

"""How often an address may enrol at the real Connector, and what becomes of those who come too often."""

from datetime import timedelta
from pathlib import Path

import grpc
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, GetTrustBundleRequest
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.keys import new_key
from certs.request import make_csr
from certs.token import OneTimeToken
from mesh.channel import open_pinned_channel
from mesh.enrolment import enrol
from mesh.errors import Problem
from tests.integration.connector.plane import Plane, problem_of

BURST = 3


async def started(plane: Plane, rate: str) -> Plane:
    """Lets each address enrol three times at once, and then `rate` times a second."""
    plane.settings |= {"enrolment_address_rate": rate, "enrolment_address_burst": str(BURST)}
    await plane.start()
    return plane


async def refused(plane: Plane, count: int) -> list[Problem]:
    """How so many attempts, one after the other, that hold no token, are refused."""
    request = EnrollRequest(token="moor_none", csr=make_csr(new_key()))
    async with open_pinned_channel(plane.settings["enrolment_address"], plane.mint.root.chain_pem) as channel:
        stub = ConnectorStub(channel)
        return [await problem_of(stub.Enroll(request, timeout=20, wait_for_ready=True)) for _ in range(count)]


async def test_an_address_that_enrols_too_often_is_told_when_to_come_back(stopped_plane: Plane) -> None:
    plane = await started(stopped_plane, "0.001")

    problems = await refused(plane, 20)

    limited = [each for each in problems if each.is_reason(Reason.REASON_RATE_LIMITED)]
    assert limited == problems[BURST:]
    for problem in limited:
        assert problem.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert problem.metadata["limit"] == "address"
        assert problem.retry_after
        assert timedelta(seconds=900) < problem.retry_after <= timedelta(seconds=1000)


async def test_whoever_pairs_comes_back_when_told_and_gets_its_identity(stopped_plane: Plane, tmp_path: Path) -> None:
    plane = await started(stopped_plane, "1")
    issued = await plane.connector().IssueToken(IssueTokenRequest(viewer="vic"), timeout=20, wait_for_ready=True)
    await refused(plane, 20)

    await enrol(OneTimeToken.decode(issued.token), Identity(tmp_path / "vic"))

    assert Identity(tmp_path / "vic").load().spiffe_id.name == "vic"


async def test_those_who_have_a_certificate_are_not_held_up_by_those_who_have_none(
    stopped_plane: Plane,
) -> None:
    plane = await started(stopped_plane, "0.001")
    await refused(plane, 20)

    await plane.connector().GetTrustBundle(GetTrustBundleRequest(), timeout=20, wait_for_ready=True)

"""From a token to an identity while Connector, Director or network fail, and what is on disk in the end."""

import asyncio
import os
import signal
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.keys import new_key
from certs.request import make_csr
from certs.token import OneTimeToken
from mesh.enrolment import PlaneUnreachable, enrol
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane, problem_of
from tests.integration.connector.relay import relay
from tests.integration.connector.test_enrolment import enroll
from tests.support.wait import eventually


async def test_the_director_hears_of_an_application_that_enrolled_while_it_was_away_once_it_is_back(
    plane: Plane, tmp_path: Path
) -> None:
    token = await plane.token(APPLICATION_ID)
    await plane.stop_director()
    await enrol(token, Identity(tmp_path / "newcomer"))
    assert plane.director.paired == []
    await plane.start_director()

    async def paired() -> bool:
        return APPLICATION_ID in plane.director.paired

    await eventually("the Director hears of it", paired, within=40)


@pytest.mark.check("trust-04")
async def test_a_used_token_stays_used_through_kill_9(plane: Plane, tmp_path: Path) -> None:
    token = await plane.token()
    await enrol(token, Identity(tmp_path / "newcomer"))

    await plane.end(signal.SIGKILL)
    await plane.start()

    problem = await problem_of(enroll(plane, token.encode(), make_csr(new_key())))
    assert problem.is_reason(Reason.REASON_TOKEN_REFUSED)
    assert len(plane.rows("SELECT * FROM certificates")) == 1


@pytest.mark.check("trust-05")
async def test_a_reply_that_is_lost_burns_nothing(plane: Plane, tmp_path: Path) -> None:
    token, identity = await plane.token(), Identity(tmp_path / "newcomer")
    cuts = iter([True])

    def reply_is_on_its_way() -> bool:
        return bool(plane.rows("SELECT 1 FROM certificates")) and next(cuts, False)

    async with relay(token.address, cut=reply_is_on_its_way) as lossy:
        await enrol(OneTimeToken(lossy.address, token.root_pins, token.secret), identity)

    assert next(cuts, None) is None, "the relay cut nothing"
    [row] = plane.rows("SELECT serial_number FROM certificates")
    assert identity.load().serial == row["serial_number"]
    assert [each["action"] for each in plane.rows("SELECT action FROM audit ORDER BY event_id")] == [
        "TOKEN_ISSUED",
        "ENROLLED",
        "ENROLLED_AGAIN",
    ]


async def test_a_newcomer_waits_for_a_connector_that_is_restarting(plane: Plane, tmp_path: Path) -> None:
    token, identity = await plane.token(), Identity(tmp_path / "newcomer")
    await plane.end(signal.SIGTERM)

    enrolling = asyncio.create_task(enrol(token, identity))
    await plane.start()
    await enrolling

    assert identity.load().spiffe_id.name == RUNTIME_ID


async def test_a_connector_that_never_answers_is_reported_in_time(stopped_plane: Plane, tmp_path: Path) -> None:
    address = stopped_plane.settings["enrolment_address"]
    token = OneTimeToken(address, (bytes(32),), os.urandom(32))

    with pytest.raises(PlaneUnreachable, match=address):
        await enrol(token, Identity(tmp_path / "newcomer"), timeout=timedelta(seconds=0.5))


async def test_no_secret_is_in_the_database_or_the_log(plane: Plane, tmp_path: Path) -> None:
    token = await plane.token()
    await enrol(token, Identity(tmp_path / "newcomer"))
    await problem_of(enroll(plane, token.encode(), make_csr(new_key())))
    await plane.end(signal.SIGTERM)

    written = b"".join(path.read_bytes() for path in (*plane.folder.glob("connector.sqlite*"), plane.log))

    assert token.secret not in written
    assert token.secret.hex().encode() not in written
    assert token.encode().encode() not in written
    assert str(uuid.UUID(RUNTIME_ID)).encode() in written

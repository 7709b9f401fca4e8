"""Services renew their own certificates, the Connector by its own listener."""

from datetime import timedelta
from pathlib import Path

from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest

from certs.identity import Identity, LoadedIdentity
from tests.integration.connector.plane import Plane
from tests.integration.director_registry.process import DirectorProcess
from tests.support.wait import eventually

LIFE = timedelta(seconds=12)


async def replaced(identity: Identity, held: LoadedIdentity) -> LoadedIdentity:
    """What is in the folder of `identity` once that is no longer what was `held`."""

    async def look() -> LoadedIdentity | None:
        now = identity.load()
        return now if now.serial != held.serial else None

    return await eventually("a renewal", look)


async def test_the_connector_renews_itself_and_answers_on(stopped_plane: Plane) -> None:
    plane = stopped_plane
    identity = plane.mint.identity("service", "connector", LIFE)
    plane.settings |= {"identity": str(identity.folder), "service_lifetime": str(LIFE.total_seconds())}
    first = identity.load()
    await plane.start()

    second = await replaced(identity, first)
    await replaced(identity, second)

    assert (await plane.connector().GetTrustBundle(GetTrustBundleRequest(), timeout=20)).trust_bundle_pem

    async def ended() -> bool:
        rows = plane.rows(f"SELECT revocation_reason FROM certificates WHERE serial_number = '{second.serial}'")
        return [each["revocation_reason"] for each in rows] == [4]

    await eventually("the end of the second", ended)


async def test_a_director_renews_itself_and_its_first_use_ends_the_certificate_before(
    plane: Plane, tmp_path: Path
) -> None:
    identity = plane.mint.identity("service", "director", LIFE)
    first = identity.load()
    (tmp_path / "real").mkdir()
    director = DirectorProcess(tmp_path / "real")
    director.settings |= {"identity": str(identity.folder), "connector_address": plane.settings["connector_address"]}
    await director.start()
    try:
        second = await replaced(identity, first)

        async def ended() -> bool:
            rows = plane.rows(f"SELECT revocation_reason FROM certificates WHERE serial_number = '{first.serial}'")
            return [each["revocation_reason"] for each in rows] == [4]

        await eventually("the end of the first", ended)
        assert second.not_after > first.not_after
    finally:
        await director.close()

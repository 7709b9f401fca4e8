"""Trust, where several Connectors share one PostgreSQL and any of them can go at any time."""

from pathlib import Path

from tests.support.connectors import Connectors


async def test_what_one_connector_issued_another_knows(connectors: Connectors, tmp_path: Path) -> None:
    """A token of one enrols at the other, and what that signed renews at the first."""
    identity = await connectors.enrol(1, await connectors.token(0), tmp_path / "runtime")
    renewed = await connectors.renew(0, identity, tmp_path / "renewed")
    assert renewed.load().spiffe_id == identity.load().spiffe_id
    rows = connectors.sql("SELECT serial_number, replaces_serial FROM certificates WHERE replaces_serial IS NOT NULL")
    assert (renewed.load().serial, identity.load().serial) in rows

"""All that is measured of trust."""

from pathlib import Path

from bench.figures import Figure
from bench.trust import enrolment, renewal, revocation


async def measure(work: Path) -> dict[str, Figure]:
    """The figures of enrolment, renewal and revocation."""
    return {
        **await enrolment.measure(work / "enrolment"),
        **await renewal.measure(work / "renewal"),
        **await revocation.measure(work / "revocation"),
    }

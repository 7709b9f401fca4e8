"""How long a person waits: for the plane, and for the command's help."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Figure
from bench.processes import bare, plane

ROUNDS = 3


async def measure(work: Path) -> dict[str, Figure]:
    """`startup.up` and `startup.help`."""
    ups, bares = [], []
    for number in range(ROUNDS):
        home = work / f"startup-{number}"
        with plane(home) as (_, seconds):
            ups.append(seconds)
        async with bare(home / "identities" / "director") as (_, _, seconds):
            bares.append(seconds)
    helps = [_timed(Path(sys.executable).parent / "moorage", "--help") for _ in range(2 * ROUNDS + 1)]
    pythons = [_timed(Path(sys.executable), "-c", "pass") for _ in range(2 * ROUNDS + 1)]
    return {
        "startup.up": Figure(
            statistics.median(ups),
            statistics.median(bares),
            "s",
            "`moorage up` on a fresh home until all three services are ready, beside one bare grpc.aio server",
        ),
        "startup.help": Figure(
            statistics.median(helps),
            statistics.median(pythons),
            "s",
            "`moorage --help`, beside `python -c pass`",
        ),
    }


def _timed(*command: Path | str) -> float:
    begin = time.perf_counter()
    subprocess.run([str(each) for each in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin

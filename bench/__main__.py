"""`python -m bench`: measures Moorage beside bare grpc.aio, in the same run, with real processes.

Figures go to standard output as a table and to `build/bench.json`, and are drawn beside that; progress goes to standard
error.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
from bench import applied, read, registry, replicas, startup
from bench.figures import Figure, table, write
from bench.plots import draw
from bench.stream import parts as stream
from bench.trust import parts as trust

PARTS = {
    "startup": startup.measure,
    "read": read.measure,
    "applied": applied.measure,
    "registry": registry.measure,
    "replicas": replicas.measure,
    "trust": trust.measure,
    "stream": stream.measure,
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Moorage beside bare grpc.aio.")
    parser.add_argument("--only", choices=sorted(PARTS), help="run this part alone")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="where the figures go")
    parser.add_argument("--streams", type=int, default=stream.STREAMS, help="live agents in the part `stream`")
    chosen = parser.parse_args()
    parts = [chosen.only] if chosen.only else list(PARTS)
    measures = PARTS | {"stream": partial(stream.measure, streams=chosen.streams)}
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as work:
        for part in parts:
            begin = time.perf_counter()
            sys.stderr.write(f"bench: {part} ...\n")
            measured = asyncio.run(measures[part](Path(work)))
            figures |= measured
            drawn = draw(part, measured, chosen.output.parent)
            sys.stderr.write(f"bench: {part} took {time.perf_counter() - begin:.0f} s; drawn in {drawn}\n")
    write(figures, chosen.output)
    sys.stdout.write(table(figures.items()))


if __name__ == "__main__":
    main()

"""`python -m bench`: measures Moorage beside bare grpc.aio, in the same run, with real processes.

Figures go to standard output as a table and to `build/bench.json`; progress goes to standard error.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench import applied, read, registry, replicas, startup
from bench.figures import Figure, table, write

PARTS = {
    "startup": startup.measure,
    "read": read.measure,
    "applied": applied.measure,
    "registry": registry.measure,
    "replicas": replicas.measure,
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Moorage beside bare grpc.aio.")
    parser.add_argument("--only", choices=sorted(PARTS), help="run this part alone")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="where the figures go")
    chosen = parser.parse_args()
    parts = [chosen.only] if chosen.only else list(PARTS)
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as work:
        for part in parts:
            begin = time.perf_counter()
            sys.stderr.write(f"bench: {part} ...\n")
            figures |= asyncio.run(PARTS[part](Path(work)))
            sys.stderr.write(f"bench: {part} took {time.perf_counter() - begin:.0f} s\n")
    write(figures, chosen.output)
    sys.stdout.write(table(figures.items()))


if __name__ == "__main__":
    main()

"""All figures of the stream, in turn."""

from pathlib import Path

from bench.figures import Figure
from bench.stream import load, quiet

STREAMS = 2000
"""How many live agents there are, unless told otherwise; half as many where one of them is frozen."""


async def measure(work: Path, streams: int = STREAMS) -> dict[str, Figure]:
    """`stream.*`, `fanout.*`, `single.*`, `reconnect.*`, `frozen.*`, `sustained.*` and `growth.fanout`."""
    return {
        **await quiet.measure(work, streams),
        **await load.frozen(work, streams // 2),
        **await load.sustained(work),
        **await load.growth(work),
    }

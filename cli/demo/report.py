"""`build/demo.json`: what came of each step."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from certs import files


class StepFailed(Exception):
    """A step did not come out as it must; the message says what was seen."""


@dataclass(frozen=True)
class Outcome:
    """What came of one step: how long it took in milliseconds, and in `detail` what was seen, or why it failed."""

    name: str
    ms: float
    detail: str


def write_report(file: Path, outcomes: Sequence[Outcome], *, ok: bool) -> None:
    """Write the report at once, making its folder if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"ok": ok, "steps": [asdict(outcome) for outcome in outcomes]}
    files.replace(file, (json.dumps(content, indent=2) + "\n").encode(), files.PUBLIC)

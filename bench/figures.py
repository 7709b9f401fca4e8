"""The figures: each a value beside its baseline of the same run, on paper and on screen."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    value: float
    """What Moorage took, in `unit`."""

    baseline: float
    """What the bare thing took in the same run, in `unit`."""

    unit: str
    what: str
    """What was measured, and beside what."""

    samples: tuple[Sequence[float], Sequence[float]] | None = field(default=None, repr=False)
    """What value and baseline were taken from, where that is drawn; it is not written down."""

    @property
    def ratio(self) -> float:
        """Value to baseline: what to look at, since both ran on the same machine at the same time."""
        return self.value / self.baseline if self.baseline else float("inf")


def write(figures: dict[str, Figure], path: Path) -> None:
    """Put the figures at `path`, beside those that an earlier run on the same machine left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = _machine()
    new = {key: asdict(replace(each, samples=None)) | {"ratio": round(each.ratio, 3)} for key, each in figures.items()}
    for each in new.values():
        del each["samples"]
    content = json.dumps({"machine": machine, "figures": _earlier(path, machine) | new}, indent=2) + "\n"
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(content)
    temporary.replace(path)


def table(figures: Iterable[tuple[str, Figure]]) -> str:
    """The figures as a Markdown table."""
    rows = [
        f"| `{key}` | {each.value:,.3f} | {each.baseline:,.3f} | {each.ratio:.2f} | {each.unit} | {each.what} |"
        for key, each in figures
    ]
    return "\n".join(["| figure | value | baseline | ratio | unit | what |", "|---|--:|--:|--:|---|---|", *rows]) + "\n"


def _earlier(path: Path, machine: dict[str, str | int]) -> dict[str, Any]:
    """What stands at `path`; nothing where that is of another machine, or no file of figures."""
    try:
        before = json.loads(path.read_text())
        return dict(before["figures"]) if before["machine"] == machine else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _machine() -> dict[str, str | int]:
    return {
        "cores": os.cpu_count() or 0,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
    }

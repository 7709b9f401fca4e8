"""The file of figures: parts that are measured apart come together in it."""

import json
from pathlib import Path

import pytest

from bench.figures import Figure, table, write

READ = {"read.cpu": Figure(900.0, 300.0, "us", "a read")}
HELP = {"startup.help": Figure(0.1, 0.01, "s", "the help")}


def written(path: Path) -> dict[str, dict[str, object]]:
    figures: dict[str, dict[str, object]] = json.loads(path.read_text())["figures"]
    return figures


def test_a_figure_stands_beside_its_baseline_and_its_ratio(tmp_path: Path) -> None:
    write(READ, tmp_path / "new" / "bench.json")
    assert written(tmp_path / "new" / "bench.json") == {
        "read.cpu": {"value": 900.0, "baseline": 300.0, "unit": "us", "what": "a read", "ratio": 3.0}
    }
    assert "| `read.cpu` | 900.000 | 300.000 | 3.00 | us | a read |" in table(READ.items())


def test_a_run_of_one_part_keeps_the_figures_of_the_others(tmp_path: Path) -> None:
    write(READ, tmp_path / "bench.json")
    write(HELP, tmp_path / "bench.json")
    assert written(tmp_path / "bench.json").keys() == {"read.cpu", "startup.help"}


@pytest.mark.parametrize("there", ["", "{", "[]", "{}", '{"machine": {"cores": -1}, "figures": {"old": {}}}'])
def test_what_is_no_file_of_this_machine_s_figures_is_written_over(tmp_path: Path, there: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(there)
    write(READ, path)
    assert written(path).keys() == {"read.cpu"}

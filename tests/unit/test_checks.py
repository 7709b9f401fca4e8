"""The record of which promises of the plane the tests hold."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checks import normalised

TESTS = """
import pytest

@pytest.mark.check("trust-1")
def test_one():
    pass

@pytest.mark.check("trust-01", "streaming-2")
def test_two():
    assert {two}

@pytest.mark.check("trust-03")
def test_three():
    pytest.skip("not here")

def test_of_nothing():
    pass
"""


def run(folder: Path, two: bool, *options: str) -> tuple[dict[str, Any], str]:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = check: a promise\n")
    (folder / "test_them.py").write_text(TESTS.format(two=two))
    plugins = ("-p", "xdist.plugin", "-p", "tests.support.checks")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, "test_them.py"],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # the others take most of such a run to load
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return json.loads((folder / "build" / "checks.json").read_text()), done.stdout


@pytest.mark.parametrize("options", [("-n", "0"), ("-n", "1")], ids=["in one process", "by a worker"])
def test_a_check_holds_where_each_of_its_tests_passed(tmp_path: Path, options: tuple[str, ...]) -> None:
    lines, printed = run(tmp_path, False, *options)
    assert {check: line["ok"] for check, line in lines.items()} == {
        "stream-02": False,
        "trust-01": False,
        "trust-03": False,
    }
    assert lines["trust-01"]["test"] == "test_them.py::test_two"
    assert "trust-01     FAILED" in printed


def test_a_run_of_one_test_leaves_what_the_others_came_to(tmp_path: Path) -> None:
    run(tmp_path, False)
    lines, _ = run(tmp_path, True, "-k", "one")
    assert not lines["trust-01"]["ok"]
    lines, printed = run(tmp_path, True, "-k", "two")
    assert lines["trust-01"]["ok"]
    assert not lines["trust-03"]["ok"]
    assert "trust-03" not in printed


@pytest.mark.parametrize(("written", "name"), [("trust-9", "trust-09"), ("streaming-2", "stream-02")])
def test_a_number_has_two_digits_behind_the_short_name(written: str, name: str) -> None:
    assert normalised(written) == name

"""The promises of the plane that tests hold, by their numbers: `pytest -p tests.support.checks`.

A test says which by `@pytest.mark.check("trust-01")`. Each run prints a line for every one that it came to, and writes
them to `build/checks.json`, beside those that other runs left there.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

_PROPERTY = "check"
_FAMILIES = {"streaming": "stream"}

Tests = dict[str, dict[str, Any]]
"""What came of each test, by its node id: `ok` and `seconds`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where the lines go."""
    parser.addoption("--checks-json", type=Path, default=Path("build/checks.json"), help="where the checks go")


def pytest_configure(config: pytest.Config) -> None:
    """Collect in the process that hears of all tests: under xdist the one that has the workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(config.rootpath, config.getoption("checks_json")))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have the reports of a test carry what it holds: marks do not come along from a worker."""
    for mark in item.iter_markers("check"):
        item.user_properties += [(_PROPERTY, normalised(name)) for name in mark.args]


def normalised(name: str) -> str:
    """A number of two digits behind the family's short name: `trust-9` is `trust-09`, `streaming-1` is `stream-01`."""
    family, _, number = name.rpartition("-")
    return f"{_FAMILIES.get(family, family)}-{int(number):02}"


class _Collector:
    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self._path = path
        self._seen: dict[str, Tests] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up setting up, the test itself and tearing down. One that is skipped holds nothing."""
        for _, check in (each for each in report.user_properties if each[0] == _PROPERTY):
            test = self._seen[str(check)].setdefault(report.nodeid, {"ok": True, "seconds": 0.0})
            test["ok"] = test["ok"] and report.passed
            test["seconds"] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the file, and a line for each."""
        if not self._seen:
            return
        lines = merged(self._root, self._earlier(), self._seen)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}")
        temporary.write_text(json.dumps(lines, indent=2) + "\n")
        temporary.replace(self._path)
        terminalreporter.section("checks")
        for check in sorted(self._seen):
            line = lines[check]
            verdict = "ok    " if line["ok"] else "FAILED"
            terminalreporter.write_line(f"{check:<12} {verdict} {line['seconds']:7.1f} s  {line['test']}")

    def _earlier(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {check: line for check, line in found.items() if normalised(check) == check}


def merged(root: Path, earlier: Mapping[str, Any], seen: Mapping[str, Tests]) -> dict[str, Any]:
    """The lines of all checks, in order: each test as it ran last, unless it is no more.

    A check is `ok` where all its tests are; its `seconds` are those of all, and its `test` is one that failed, or else
    the longest.
    """
    lines = {}
    for check in sorted({*earlier, *seen}):
        before = {node: test for node, test in earlier.get(check, {}).get("tests", {}).items() if _exists(root, node)}
        tests = {**before, **seen.get(check, {})}
        if tests:
            lines[check] = {
                "ok": all(test["ok"] for test in tests.values()),
                "seconds": round(sum(test["seconds"] for test in tests.values()), 3),
                "test": max(tests, key=lambda node: (not tests[node]["ok"], tests[node]["seconds"])),
                "tests": tests,
            }
    return lines


def _exists(root: Path, node: str) -> bool:
    file, _, name = node.partition("::")
    function = re.escape(name.partition("[")[0].rpartition("::")[2])
    try:
        return re.search(rf"def {function}\(", (root / file).read_text()) is not None
    except OSError:
        return False

"""`moorage runtime` and `operation` against a real plane: a Runtime from nothing to READY, watched, and away again."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.exits import Exit
from tests.support.command import Ended, run_command
from tests.support.plane import Up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("plane") / "home") as plane:
        yield plane


def moorage(up: Up, *arguments: str, stdin: str = "") -> Ended:
    return run_command(*arguments, stdin=stdin.encode(), home=up.home)


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


def test_a_runtime_is_created_watched_and_removed(up: Up, name: str) -> None:
    assert moorage(up, "application", "create", name).returncode == Exit.OK
    selecting = ("--application", name, "--runtime-selector", f"run={name}")
    assert moorage(up, "group", "create", name, *selecting).returncode == Exit.OK
    options = ("--event-url", "https://quay.example", "--label", f"run={name}")
    created = moorage(up, "runtime", "create", name, *options, "-o", "json")
    assert created.returncode == Exit.OK, created.stderr
    assert "step 1 of " in created.stderr
    runtime = json.loads(created.stdout)
    assert (runtime["name"], runtime["state"]) == (name, "RUNTIME_STATE_READY")
    assert runtime["labels"] == {"run": name}
    assert runtime["desired_revision"] == runtime["status"]["revision"]
    titles, row = moorage(up, "runtime", "list", "--filter", f'labels.run = "{name}"', "-o", "wide").stdout.splitlines()
    shown = {title: row[titles.index(f"  {title}") + 2 :].split()[0] for title in ("REVISION", "DESIRED")}
    assert shown == dict.fromkeys(("REVISION", "DESIRED"), runtime["desired_revision"])
    watched = moorage(up, "runtime", "watch", name, "--once")
    assert watched.returncode == Exit.OK, watched.stderr
    seen = [each["name"] for line in watched.stdout.splitlines() for each in json.loads(line)["applications"]]
    assert seen == [name]
    renamed = moorage(up, "runtime", "update", name, "--description", "the long one", "-o", "json")
    assert json.loads(renamed.stdout)["description"] == "the long one"
    listed = json.loads(moorage(up, "operation", "list", "-o", "json").stdout)["operations"]
    assert runtime["runtime_id"] in [each["metadata"].get("runtime_id") for each in listed]
    deleted = moorage(up, "runtime", "delete", name)
    assert deleted.returncode == Exit.OK, deleted.stderr
    assert moorage(up, "runtime", "get", runtime["runtime_id"]).returncode == Exit.NOT_FOUND
    assert not (up.home / "provisioner" / "runtimes" / runtime["runtime_id"] / "agent.stat").exists()


def test_an_operation_can_be_waited_for_later(up: Up, name: str) -> None:
    begun = moorage(up, "runtime", "create", name, "--no-wait", "-o", "json")
    operation = json.loads(begun.stdout)["name"]
    ended = moorage(up, "operation", "wait", operation)
    assert ended.returncode == Exit.OK, ended.stderr
    assert ended.stdout.splitlines()[1].split()[:3] == [operation, "CREATE", "DONE"]
    assert moorage(up, "runtime", "delete", name).returncode == Exit.OK


def test_a_name_that_is_taken_is_told_by_the_command(up: Up, name: str) -> None:
    assert moorage(up, "runtime", "create", name, "--registry-only").returncode == Exit.OK
    done = moorage(up, "runtime", "create", name)
    assert done.returncode == Exit.CONFLICT
    assert "NAME_TAKEN" in done.stderr


def test_a_call_waits_out_the_death_of_the_director(up: Up, name: str) -> None:
    up.kill("director")
    done = moorage(up, "application", "create", name)
    assert done.returncode == Exit.OK, done.stderr
    assert moorage(up, "application", "get", name).returncode == Exit.OK


def test_a_home_without_a_plane_says_how_to_start_one(up: Up, tmp_path: Path) -> None:
    done = moorage(up, "application", "list", "--home", str(tmp_path))
    assert done.returncode == Exit.UNAVAILABLE
    assert f"moorage up --home {tmp_path}" in done.stderr

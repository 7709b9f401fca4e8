"""The command against a real plane: the registry's nouns, and bad input as a person meets it."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from mesh.exits import Exit
from tests.support.command import Ended, run_command
from tests.support.plane import Up

VALID_OPENAPI = json.dumps({"openapi": "3.0.3", "info": {"title": "orders", "version": "1"}, "paths": {}})
ASYNCAPI = "asyncapi: 3.0.0\ninfo: {title: parcels, version: '1'}\nchannels: {}\n"


def moorage(up: Up, *arguments: str, stdin: str = "") -> Ended:
    return run_command(*arguments, stdin=stdin.encode(), home=up.home)


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


def shown(up: Up, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """What a command that must succeed prints, as JSON."""
    done = moorage(up, *arguments, "-o", "json", stdin=stdin)
    assert done.returncode == Exit.OK, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_an_application_lives_by_name_and_by_id(up: Up, name: str) -> None:
    created = shown(up, "application", "create", name, "--description", "sells things")
    assert shown(up, "application", "get", name) == created
    assert shown(up, "application", "get", created["application_id"]) == created
    updated = shown(up, "application", "update", name, "--description", "buys too", "--etag", created["etag"])
    assert (updated["name"], updated["description"]) == (name, "buys too")
    assert updated in shown(up, "application", "list")["applications"]
    assert moorage(up, "application", "delete", name, "--etag", updated["etag"]).returncode == Exit.OK
    gone = moorage(up, "application", "get", created["application_id"])
    assert gone.returncode == Exit.NOT_FOUND
    assert "APPLICATION_NOT_FOUND" in gone.stderr


def test_a_table_has_titles_and_the_resource(up: Up, name: str) -> None:
    created = shown(up, "application", "create", name)
    titles, *rows = moorage(up, "application", "list").stdout.splitlines()
    assert titles.split()[:2] == ["NAME", "APPLICATION_ID"]
    assert [name, created["application_id"]] in [row.split()[:2] for row in rows]


def test_an_api_keeps_its_specification(up: Up, name: str, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(VALID_OPENAPI)
    shown(up, "application", "create", name)
    of = ("--application", name)
    created = shown(
        up, "api", "create", "orders", *of, "--target-url", "https://shop.example/orders", "--spec", str(file)
    )
    assert created["specification"]["state"] == "SPECIFICATION_STATE_VALID"
    assert shown(up, "api", "get", "orders", *of)["specification"]["content"] == VALID_OPENAPI
    assert [each["name"] for each in shown(up, "api", "list", *of)["apis"]] == ["orders"]
    moved = shown(up, "api", "update", "orders", *of, "--target-url", "https://shop.example/2")
    assert moved["target_url"] == "https://shop.example/2"
    assert moved["specification"] == created["specification"]
    assert "specification" not in shown(up, "api", "update", created["api_id"], *of, "--no-spec")
    assert moorage(up, "api", "delete", "orders", *of).returncode == Exit.OK
    assert shown(up, "api", "list", *of) == {"apis": []}


def test_a_specification_that_is_not_valid_is_stored_and_warned_of(up: Up, name: str) -> None:
    shown(up, "application", "create", name)
    arguments = ("api", "create", "orders", "--application", name, "--target-url", "https://shop.example")
    done = moorage(up, *arguments, "--spec", "-", stdin='{"openapi": "3.0.3"}')
    assert done.returncode == Exit.OK
    assert "is not valid" in done.stderr


def test_an_event_api_is_registered_from_standard_input(up: Up, name: str) -> None:
    shown(up, "application", "create", name)
    of = ("--application", name)
    created = shown(up, "event-api", "create", "parcels", *of, "--spec", "-", stdin=ASYNCAPI)
    assert created["specification"]["format"] == "SPECIFICATION_FORMAT_ASYNCAPI"
    assert shown(up, "event-api", "get", "parcels", *of)["specification"]["content"] == ASYNCAPI
    renamed = shown(up, "event-api", "update", "parcels", *of, "--name", "letters")
    assert renamed["event_api_id"] == created["event_api_id"]
    assert moorage(up, "event-api", "delete", "letters", *of).returncode == Exit.OK


def test_groups_tie_applications_and_runtimes(up: Up, name: str) -> None:
    application = shown(up, "application", "create", name)
    runtime = shown(up, "runtime", "create", name, "--registry-only")
    group = shown(up, "group", "create", name, "--application", name)
    shown(up, "group", "add", name, "--runtime", name)
    assert shown(up, "group", "members", name)["members"] == [
        {"application_id": application["application_id"], "name": name, "added": True},
        {"runtime_id": runtime["runtime_id"], "name": name, "added": True},
    ]
    assert [each["group_id"] for each in shown(up, "group", "list", "--runtime", name)["groups"]] == [group["group_id"]]
    served = shown(up, "application", "runtimes", name)["runtimes"]
    assert [each["runtime_id"] for each in served] == [runtime["runtime_id"]]
    shown(up, "group", "remove", name, "--application", name)
    assert shown(up, "application", "runtimes", name) == {"runtimes": []}
    held = moorage(up, "group", "delete", name)
    assert (held.returncode, f"runtime {name}" in held.stderr) == (Exit.CONFLICT, True), held.stderr
    assert moorage(up, "group", "delete", name, "--force").returncode == Exit.OK
    assert moorage(up, "runtime", "delete", name, "--registry-only").returncode == Exit.OK


def test_a_webhook_never_shows_its_secret_again(up: Up, name: str) -> None:
    shown(up, "application", "create", name)
    hook = ("application", "webhook")
    made = moorage(up, *hook, "set", name, "--url", "https://shop.example/hook", "--generate-secret")
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    moved = moorage(up, *hook, "set", name, "--url", "https://shop.example/other")
    read = moorage(up, *hook, "get", name)
    assert "https://shop.example/other" in read.stdout
    assert secret not in made.stderr + moved.stdout + moved.stderr + read.stdout + read.stderr
    assert moorage(up, *hook, "delete", name).returncode == Exit.OK
    assert moorage(up, *hook, "get", name).returncode == Exit.NOT_FOUND


def test_the_same_request_id_creates_once(up: Up, name: str) -> None:
    arguments = ("application", "create", name, "--request-id", str(uuid.uuid4()))
    assert shown(up, *arguments) == shown(up, *arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("application", "create", "a" * 64), Exit.BAD_INPUT, "application.name"),
        (("application", "create", "Not A Label"), Exit.BAD_INPUT, "application.name"),
        (("application", "create", "shop", "--request-id", "7"), Exit.BAD_INPUT, "request_id"),
        (("application", "get", str(uuid.uuid4())), Exit.NOT_FOUND, "APPLICATION_NOT_FOUND"),
        (("application", "get", "ghost"), Exit.NOT_FOUND, "moorage application list"),
        (("runtime", "get", str(uuid.uuid4())), Exit.NOT_FOUND, "RUNTIME_NOT_FOUND"),
        (("runtime", "create", "quay", "--event-url", "ftp://a"), Exit.BAD_INPUT, "event_url"),
        (("runtime", "create", "quay", "--driver", "raft"), Exit.BAD_INPUT, "DRIVER_UNKNOWN"),
        (("operation", "get", str(uuid.uuid4())), Exit.NOT_FOUND, "OPERATION_NOT_FOUND"),
        (("operation", "get", "seven"), Exit.BAD_INPUT, "name"),
        (("token", "issue", "--application", str(uuid.uuid4())), Exit.NOT_FOUND, "APPLICATION_NOT_FOUND"),
        (("token", "issue", "--runtime", str(uuid.uuid4()), "--ttl", "25h"), Exit.BAD_INPUT, "ttl"),
        (("group", "add", str(uuid.uuid4())), Exit.BAD_INPUT, "at least one"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_wrong(
    up: Up, arguments: tuple[str, ...], code: Exit, says: str
) -> None:
    done = moorage(up, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("moorage: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_a_name_that_is_taken_is_a_conflict(up: Up, name: str) -> None:
    shown(up, "application", "create", name)
    done = moorage(up, "application", "create", name)
    assert done.returncode == Exit.CONFLICT
    assert "NAME_TAKEN" in done.stderr


def test_a_stale_etag_is_a_conflict(up: Up, name: str) -> None:
    created = shown(up, "application", "create", name)
    shown(up, "application", "update", name, "--description", "new")
    done = moorage(up, "application", "update", name, "--description", "newer", "--etag", created["etag"])
    assert done.returncode == Exit.CONFLICT
    assert "ETAG_MISMATCH" in done.stderr
    assert shown(up, "application", "get", name)["description"] == "new"


def test_a_specification_beyond_the_limit_is_bad_input(up: Up, name: str) -> None:
    shown(up, "application", "create", name)
    arguments = ("api", "create", "orders", "--application", name, "--target-url", "https://shop.example")
    for size in (3 * 1024 * 1024 + 1, 20 * 1024 * 1024):
        done = moorage(up, *arguments, "--spec", "-", stdin="x" * size)
        assert done.returncode == Exit.BAD_INPUT
        assert len(done.stderr) < 1000
    assert shown(up, "api", "list", "--application", name) == {"apis": []}

"""The command against a real plane: labels, versions, bundles, documents, credentials, selectors, searching."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1 import health_pb2

from mesh.exits import Exit
from tests.support.command import Ended, run_command
from tests.support.plane import Up

OPENAPI = json.dumps({"openapi": "3.0.3", "info": {"title": "orders", "version": "1"}, "paths": {}})
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def application(up: Up, name: str) -> str:
    """The name of an Application that is there."""
    shown(up, "application", "create", name)
    return name


def moorage(up: Up, *arguments: str, stdin: bytes = b"") -> Ended:
    return run_command(*arguments, stdin=stdin, home=up.home)


def shown(up: Up, *arguments: str, stdin: bytes = b"") -> dict[str, Any]:
    """What a command that must succeed prints, as JSON."""
    done = moorage(up, *arguments, "-o", "json", stdin=stdin)
    assert done.returncode == Exit.OK, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def names(up: Up, *arguments: str) -> list[str]:
    """The names that a list shows."""
    done = moorage(up, *arguments, "-o", "name")
    assert done.returncode == Exit.OK, done.stderr
    return done.stdout.splitlines()


def test_labels_are_set_taken_away_and_searched_by(up: Up, name: str) -> None:
    created = shown(up, "application", "create", name, "--label", f"run={name}", "--label", "env=test")
    assert created["state"] == "APPLICATION_STATE_INITIAL"
    updated = shown(up, "application", "update", name, "--label", "env=prod", "--label", "tier=web")
    assert updated["labels"] == {"run": name, "env": "prod", "tier": "web"}
    updated = shown(up, "application", "update", name, "--remove-label", "tier", "--provider", "Ada")
    assert (updated["labels"], updated["provider"]) == ({"run": name, "env": "prod"}, "Ada")
    shown(up, "runtime", "create", name, "--registry-only", "--label", f"run={name}")
    for noun in ("application", "runtime"):
        assert names(up, noun, "list", "--filter", f'labels.run = "{name}"') == [name]
        assert names(up, noun, "list", "--filter", f'labels.run = "{name}" AND labels.env = "test"') == []


def test_lists_are_ordered_as_asked_and_have_all_their_pages(up: Up, name: str) -> None:
    made = sorted(f"{name}-{position}" for position in range(5))
    for each in made:
        shown(up, "application", "create", each, "--provider", name)
    listed = ("application", "list", "--filter", f'provider = "{name}"', "--page-size", "2")
    assert names(up, *listed) == made
    assert names(up, *listed, "--order-by", "name desc") == made[::-1]
    refused = moorage(up, "application", "list", "--filter", "colour = 1")
    assert (refused.returncode, refused.stderr.count("\n")) == (Exit.BAD_INPUT, 1)
    assert "colour" in refused.stderr


@pytest.mark.parametrize("output", ["table", "wide", "yaml"])
@pytest.mark.parametrize("noun", ["application", "api", "event-api", "bundle", "document", "group", "runtime", "label"])
def test_every_list_is_shown_in_every_format(up: Up, noun: str, output: str) -> None:
    done = moorage(up, noun, "list", "-o", output)
    assert done.returncode == Exit.OK, done.stderr
    assert done.stdout


def test_a_label_definition_is_held_to(up: Up, name: str) -> None:
    shown(up, "label", "create", name, "--schema", "-", stdin=b'{"enum": ["prod", "test"]}')
    refused = moorage(up, "application", "create", name, "--label", f"{name}=none")
    assert refused.returncode == Exit.BAD_INPUT, refused.stderr
    shown(up, "application", "create", name, "--label", f"{name}=prod")
    held = moorage(up, "label", "delete", name)
    assert held.returncode == Exit.CONFLICT, held.stderr
    shown(up, "label", "update", name, "--no-schema", "--description", "free")
    assert "schema" not in shown(up, "label", "get", name)
    assert moorage(up, "label", "delete", name, "--force").returncode == Exit.OK


def test_an_api_is_a_version_in_a_bundle(up: Up, application: str) -> None:
    of = ("--application", application)
    bundle = shown(up, "bundle", "create", "shared", *of)
    version = ("--version", "v1", "--deprecated", "--removal-time", "2030-01-31", "--version-group", "orders")
    url = ("--target-url", "https://shop.example")
    created = shown(up, "api", "create", "orders-v1", *of, *url, *version, "--bundle", "shared")
    assert created["version"] == {"value": "v1", "deprecated": True, "removal_time": "2030-01-31T00:00:00Z"}
    assert (created["bundle_id"], created["version_group"]) == (bundle["bundle_id"], "orders")
    updated = shown(up, "api", "update", "orders-v1", *of, "--deprecation-notice", "use v2", "--bundle", "")
    assert updated["version"] == {**created["version"], "deprecation_notice": "use v2"}
    assert "bundle_id" not in updated
    shown(up, "event-api", "create", "parcels", *of, "--version", "2", "--bundle", "shared")
    held = moorage(up, "bundle", "delete", "shared", *of)
    assert held.returncode == Exit.CONFLICT, held.stderr
    assert moorage(up, "bundle", "delete", "shared", *of, "--force").returncode == Exit.OK
    assert "bundle_id" not in shown(up, "event-api", "get", "parcels", *of)


def test_specifications_of_every_format_are_read_again_byte_for_byte(up: Up, application: str, tmp_path: Path) -> None:
    files = FileDescriptorSet()
    health_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    edmx = (
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
        '<Schema Namespace="a" xmlns="http://docs.oasis-open.org/odata/ns/edm"/></edmx:DataServices></edmx:Edmx>'
    )
    documents = {
        "OPENAPI": OPENAPI.encode(),
        "ODATA_EDMX": edmx.encode(),
        "GRPC_DESCRIPTOR_SET": files.SerializeToString(),
    }
    of = ("--application", application)
    for position, (format, content) in enumerate(documents.items()):
        api, out = f"api-{position}", tmp_path / format
        done = shown(
            up, "api", "create", api, *of, "--target-url", "https://shop.example", "--spec", "-", stdin=content
        )
        assert done["specification"]["format"] == f"SPECIFICATION_FORMAT_{format}"
        assert done["specification"]["state"] == "SPECIFICATION_STATE_VALID", done
        assert moorage(up, "api", "spec", api, *of, "--out", str(out)).returncode == Exit.OK
        assert out.read_bytes() == content
    assert moorage(up, "api", "spec", "api-0", *of).stdout == OPENAPI


def test_a_specification_that_cannot_be_fetched_is_seen_to_be_so(up: Up, application: str) -> None:
    of = ("--application", application)
    url = "http://127.0.0.1:1/openapi.json"
    done = moorage(up, "api", "create", "orders", *of, "--target-url", "https://shop.example", "--spec-url", url)
    assert done.returncode == Exit.OK, done.stderr
    assert "fetches the specification" in done.stderr
    assert shown(up, "api", "get", "orders", *of)["specification"]["url"] == url
    assert moorage(up, "api", "spec", "orders", *of).returncode == Exit.CONFLICT


def test_a_document_keeps_its_text(up: Up, application: str) -> None:
    of = ("--application", application)
    created = shown(up, "document", "create", "guide", *of, "--title", "Guide", "--file", "-", stdin=b"# how to")
    assert created["format"] == "DOCUMENT_FORMAT_MARKDOWN"
    assert shown(up, "document", "get", "guide", *of)["content"] == "# how to"
    shown(up, "document", "update", "guide", *of, "--file", "-", stdin=b"# how else")
    assert shown(up, "document", "get", "guide", *of)["content"] == "# how else"
    assert names(up, "document", "list", *of) == ["guide"]
    assert moorage(up, "document", "delete", "guide", *of).returncode == Exit.OK


def test_credentials_go_in_and_never_come_out(up: Up, application: str) -> None:
    of = ("--application", application)
    shown(up, "api", "create", "orders", *of, "--target-url", "https://shop.example")
    target = (*of, "--api", "orders")
    set_ = moorage(
        up,
        *("credential", "set", *target, "--type", "basic", "--username", "ada", "--from-file", "-"),
        stdin=SECRET.encode(),
    )
    assert set_.returncode == Exit.OK, set_.stderr
    said = set_.stdout + set_.stderr
    for output in ("table", "wide", "json", "yaml", "name"):
        said += moorage(up, "credential", "list", *of, "-o", output).stdout
    assert SECRET not in said
    [listed] = shown(up, "credential", "list", *of)["credentials"]
    assert listed["type"] == "CREDENTIAL_TYPE_BASIC"
    assert shown(up, "api", "get", "orders", *of)["credential_type"] == "CREDENTIAL_TYPE_BASIC"
    assert moorage(up, "credential", "delete", *target).returncode == Exit.OK
    assert shown(up, "credential", "list", *of) == {"credentials": []}


def test_a_runtime_asks_and_the_application_answers(up: Up, application: str) -> None:
    of = ("--application", application)
    shown(up, "api", "create", "orders", *of, "--target-url", "https://shop.example")
    shown(up, "runtime", "create", application, "--registry-only")
    shown(up, "group", "create", application, *of, "--runtime", application)
    ask = ("access-request", "create", *of, "--api", "orders", "--runtime", application, "--purpose", "nightly")
    asked = shown(up, *ask)
    assert asked["state"] == "ACCESS_REQUEST_STATE_PENDING"
    id = asked["access_request_id"]
    assert names(up, "access-request", "list", *of, "--state", "pending") == [id]
    supply = ("access-request", "supply", id, *of, "--type", "bearer", "--from-file", "-")
    supplied = moorage(up, *supply, "-o", "json", stdin=SECRET.encode())
    assert supplied.returncode == Exit.OK, supplied.stderr
    assert json.loads(supplied.stdout)["state"] == "ACCESS_REQUEST_STATE_SUPPLIED"
    assert SECRET not in supplied.stdout + supplied.stderr
    assert moorage(up, "access-request", "delete", id, "--runtime", application).returncode == Exit.OK
    other = shown(up, *ask)["access_request_id"]
    refused = shown(up, "access-request", "refuse", other, *of, "--reason", "not for you")
    assert (refused["state"], refused["refusal"]) == ("ACCESS_REQUEST_STATE_REFUSED", "not for you")


def test_selectors_pull_members_in_by_their_labels(up: Up, name: str) -> None:
    shown(up, "application", "create", name, "--label", f"run={name}")
    shown(up, "group", "create", name, "--application-selector", f"run={name},!legacy")
    shown(up, "runtime", "create", name, "--registry-only", "--group", name)
    first, second = shown(up, "group", "members", name)["members"]
    assert (first.get("selected"), first.get("added")) == (True, None)
    assert (second.get("selected"), second.get("added")) == (None, True)
    assert f"run={name},!legacy" in moorage(up, "group", "get", name).stdout
    shown(up, "application", "update", name, "--label", "legacy=yes")
    assert [member["name"] for member in shown(up, "group", "members", name)["members"]] == [name]
    shown(up, "group", "update", name, "--application-selector", "")
    assert "application_selector" not in shown(up, "group", "get", name)


def test_a_batch_changes_many_groups_in_one_revision(up: Up, name: str, tmp_path: Path) -> None:
    shown(up, "application", "create", name)
    for group in ("a", "b"):
        shown(up, "group", "create", f"{name}-{group}")
    file = tmp_path / "changes.yaml"
    file.write_text(
        f"- {{group: {name}-a, add_applications: [{name}]}}\n- {{group: {name}-b, add_applications: [{name}]}}"
    )
    done = shown(up, "group", "batch", "-f", str(file))
    assert {group["revision"] for group in done["groups"]} == {done["revision"]}
    assert names(up, "group", "list", "--application", name) == [f"{name}-a", f"{name}-b"]


def test_the_applications_own_view_says_where_events_go(up: Up, name: str) -> None:
    shown(up, "runtime", "create", name, "--registry-only", "--event-url", "https://edge.example")
    shown(up, "application", "create", name)
    shown(up, "group", "create", name, "--application", name, "--runtime", name)
    updated = shown(up, "application", "update", name, "--eventing-runtime", name)
    view = shown(up, "application", "runtimes", name)
    [served] = view["runtimes"]
    assert (served["name"], served["state"]) == (name, "RUNTIME_STATE_PENDING")
    assert updated["eventing_runtime_id"] == served["runtime_id"]

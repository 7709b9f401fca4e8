"""After the whole story, no token, credential, webhook secret, key or passphrase is anywhere but where it is used."""

import asyncio
import base64
import os
import urllib.request
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority
from certs.keys import load_key
from certs.token import OneTimeToken
from cli.plane.home import Home
from cli.plane.ports import free_ports
from cli.plane.settings_file import write_settings
from tests.support.plane import Up, pids_of
from tests.support.postgresql import PostgresqlServer
from tests.support.secrets import Secrets, process
from tests.support.secrets_story import LOOPBACK, Story, tell

PASSPHRASE = b"neither high nor low tide"
VIEWER_LIFE = 5.0
"""Seconds that a viewer's certificate lives; it is recovered after that."""

USED = {"the password", "the bearer token", "the API key", "the certificate's", "the supplied client's"}
"""The credentials that the Runtime uses in the end."""

SERVICES = {"logs/director.log", "logs/connector.log", "logs/provisioner.log"}

pytestmark = pytest.mark.check("trust-11")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def story(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Story:
    """A plane under a passphrase, with people, Applications, a Runtime and two webhooks; then all is read.

    There are tokens that are used, unused and handed over, a certificate that was recovered, and one that was revoked.
    The engine is that of the Director and of the Connector.
    """
    server: PostgresqlServer | None = None
    settings: dict[str, dict[str, Any]] = {
        "director": {},
        "connector": {"viewer_lifetime": VIEWER_LIFE, "recovery_window": 3600.0},
        "provisioner": {},
    }
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        for service, name in (("director", "database"), ("director", "dbos_database"), ("connector", "database")):
            settings[service][name] = server.url(server.create_database())
    folder = tmp_path_factory.mktemp("secrets")
    ports = free_ports(ip_address(LOOPBACK), None)
    metrics = {
        "director": f"{LOOPBACK}:{ports.director}",
        "connector": f"{LOOPBACK}:{ports.connector}",
        "provisioner": f"{LOOPBACK}:{ports.provisioner}",
    }
    write_settings(
        folder / "settings.toml",
        {
            name: {"metrics_listen": address, "log_level": "debug", **settings[name]}
            for name, address in metrics.items()
        },
    )
    (folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
    story = Story()
    story.secrets.add("the passphrase", PASSPHRASE)
    options = ("--config", str(folder / "settings.toml"), "--passphrase-file", str(folder / "passphrase"))
    with Up(folder / "home", *options) as up:
        asyncio.run(tell(up, folder, story))
        story.metrics = {name: _scraped(address) for name, address in metrics.items()}
        story.processes = {
            name: content for pid in [up.process.pid, *pids_of(up.home)] for name, content in process(pid).items()
        }
        files = _files(up.home)
        story.kept = {name: content for name, content in files.items() if Path(name).parent.name == "credentials"}
        story.files = {name: content for name, content in files.items() if name not in story.kept}
        story.files["standard error of moorage up"] = up.said.encode()
        if server is not None:
            story.files |= {"the dump": server.dump(), "logs/postgresql.log": server.log}
        _add_keys(story.secrets, up.home)
    return story


def test_no_secret_is_in_a_database(story: Story) -> None:
    databases = {name: content for name, content in story.files.items() if ".sqlite" in name}
    others = {"provisioner/provisioner.sqlite", "provisioner/dbos.sqlite"}
    if dump := story.files.get("the dump"):
        assert {name for name in databases if name.endswith(".sqlite")} == others
        tables = ("public.credentials", "dbos.workflow_status", "public.tokens", "public.certificates", "public.audit")
        assert all(f"COPY {name} ".encode() in dump for name in tables)
        databases["dump"] = dump
    else:
        own = {"director/director.sqlite", "director/dbos.sqlite", "connector/connector.sqlite"}
        assert {name for name in databases if name.endswith(".sqlite")} == {*own, *others}
        assert "director/director.sqlite-wal" in databases
    assert story.secrets.found_in(databases) == []


def test_no_secret_is_in_a_log(story: Story) -> None:
    logs = {name: content for name, content in story.files.items() if name.endswith(".log") or "standard" in name}
    assert logs.keys() >= SERVICES
    assert any(name.endswith("/agent.log") for name in logs)
    assert all(b'"part"' in content for name, content in logs.items() if name in SERVICES or "agent" in name)
    assert story.secrets.found_in(logs) == []


def test_no_secret_is_in_any_file_but_those_of_the_keys(story: Story) -> None:
    assert {"moorage.toml", "plane.json"} <= story.files.keys()
    assert story.secrets.found_in(story.files) == []


def test_the_credentials_that_the_runtime_uses_are_where_its_agent_keeps_them_and_nowhere_else(story: Story) -> None:
    [file] = [name for name in story.kept if not name.endswith("/revisions.json")]
    found = story.credentials.found_in({"the agent's files": story.kept[file]})
    assert {each.removesuffix(" in the agent's files") for each in found} == {*USED, "a private key"}
    assert story.credentials.found_in(story.files) == []


def test_no_refusal_repeats_a_secret(story: Story) -> None:
    refusals = {name: answer for name, answer in story.answers.items() if name.startswith("refusal")}
    assert len(refusals) == 6
    assert all(b"credential." in answer for answer in refusals.values())
    assert story.credentials.found_in(refusals) == []


def test_no_secret_is_in_the_arguments_or_the_environment_of_a_process(story: Story) -> None:
    assert len(story.processes) >= 2 * 5  # up, three services, one agent
    assert story.secrets.found_in(story.processes) == []


def test_no_secret_is_among_the_metrics(story: Story) -> None:
    assert all(b"moorage_calls_total" in content for content in story.metrics.values())
    assert story.secrets.found_in(story.metrics) == []


def test_no_read_returns_a_secret(story: Story) -> None:
    assert any(name.startswith("GetWebhookResponse") for name in story.answers)
    assert any(name.startswith("GetRuntimeResponse") for name in story.answers)
    assert story.secrets.found_in(story.answers) == []


@pytest.mark.parametrize("encode", [bytes, bytes.hex, base64.b64encode, base64.urlsafe_b64encode, repr])
def test_the_search_finds_a_secret_in_whatever_form(encode: Callable[[bytes], bytes | str]) -> None:
    secrets = Secrets()
    secret = os.urandom(32)
    secrets.add("it", secret)
    written = encode(secret)
    content = written.encode() if isinstance(written, str) else written
    assert secrets.found_in({"a": b"<" + content + b">", "b": b"<>"}) == ["it in a"]


def test_the_search_finds_tokens_and_keys_that_it_was_not_told_of() -> None:
    token = OneTimeToken("127.0.0.1:7445", (bytes(32),), os.urandom(32)).encode()
    places = {"a": token.encode(), "b": b"-----BEGIN EC PRIVATE KEY-----"}
    assert Secrets().found_in(places) == ["a token in a", "a private key in b"]


def _files(home: Path) -> dict[str, bytes]:
    """Every file in the home by its path there, but for those that are there to hold a key."""
    return {
        str(file.relative_to(home)): file.read_bytes()
        for file in home.rglob("*")
        if file.is_file() and file.suffix != ".key"
    }


def _add_keys(secrets: Secrets, home: Path) -> None:
    """Every key that the home holds."""
    for folder in (Home(home).root_authority, Home(home).issuing_authority):
        secrets.add_key(f"the key of the {folder.name} authority", Authority.load(folder, PASSPHRASE).key)
    for file in home.rglob("tls.key"):
        secrets.add_key(str(file.relative_to(home)), load_key(file))
    secrets.add("the sealing key", (home / "director" / "sealing.key").read_bytes())


def _scraped(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        content: bytes = answer.read()
        return content

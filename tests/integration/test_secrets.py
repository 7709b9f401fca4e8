"""After the whole story, no token, webhook secret, private key or passphrase is anywhere but where it is used."""

import asyncio
import base64
import os
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, RuntimeOperationMetadata

from certs.authority import Authority
from certs.identity import Identity
from certs.keys import load_key
from certs.token import OneTimeToken
from cli.demo.party import Party
from cli.demo.receiver import WebhookReceiver
from cli.plane.home import Home
from cli.plane.ports import free_ports
from cli.plane.settings_file import write_settings
from mesh.enrolment import enrol
from tests.support.plane import Up, pids_of
from tests.support.registry import everything, refused
from tests.support.secrets import Secrets, process
from tests.support.wait import eventually

PASSPHRASE = b"neither high nor low tide"
LOOPBACK = "127.0.0.1"


@dataclass
class Story:
    """What was secret in it, and what can be read after it, by place."""

    secrets: Secrets = field(default_factory=Secrets)
    files: dict[str, bytes] = field(default_factory=dict)
    processes: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A plane under a passphrase, a used and an unused token, two webhooks, a Runtime; then all is read."""
    folder = tmp_path_factory.mktemp("secrets")
    ports = free_ports(ip_address(LOOPBACK), None)
    metrics = {
        "director": f"{LOOPBACK}:{ports.director}",
        "connector": f"{LOOPBACK}:{ports.connector}",
        "provisioner": f"{LOOPBACK}:{ports.provisioner}",
    }
    write_settings(
        folder / "settings.toml",
        {name: {"metrics_listen": address, "log_level": "debug"} for name, address in metrics.items()},
    )
    (folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
    story = Story()
    story.secrets.add("the passphrase", PASSPHRASE)
    options = ("--config", str(folder / "settings.toml"), "--passphrase-file", str(folder / "passphrase"))
    with Up(folder / "home", *options) as up:
        asyncio.run(_tell(up, folder, story))
        story.metrics = {name: _scraped(address) for name, address in metrics.items()}
        story.processes = {
            name: content for pid in [up.process.pid, *pids_of(up.home)] for name, content in process(pid).items()
        }
        story.files = _files(up.home) | {"standard error of moorage up": up.said.encode()}
        _add_keys(story.secrets, up.home)
    return story


def test_no_secret_is_in_a_database(story: Story) -> None:
    databases = {name: content for name, content in story.files.items() if ".sqlite" in name}
    assert {name for name in databases if name.endswith(".sqlite")} == {
        "director/director.sqlite",
        "director/dbos.sqlite",
        "connector/connector.sqlite",
        "provisioner/provisioner.sqlite",
        "provisioner/dbos.sqlite",
    }
    assert "director/director.sqlite-wal" in databases
    assert story.secrets.found_in(databases) == []


def test_no_secret_is_in_a_log(story: Story) -> None:
    logs = {name: content for name, content in story.files.items() if name.endswith(".log") or "standard" in name}
    assert {"logs/director.log", "logs/connector.log", "logs/provisioner.log"} <= logs.keys()
    assert any(name.endswith("/agent.log") for name in logs)
    assert all(b'"part"' in content for name, content in logs.items() if "standard" not in name)
    assert story.secrets.found_in(logs) == []


def test_no_secret_is_in_any_file_but_those_of_the_keys(story: Story) -> None:
    assert {"moorage.toml", "plane.json"} <= story.files.keys()
    assert story.secrets.found_in(story.files) == []


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


async def _tell(up: Up, folder: Path, story: Story) -> None:
    secrets = story.secrets
    async with up.party() as admin, _webhooks() as receiver:
        used, unused = [await _application(admin, name) for name in ("orders", "payments")]
        tokens = [await _token(admin, application_id) for application_id in (used, unused)]
        secrets.add_token("the used token", tokens[0])
        secrets.add_token("the unused token", tokens[1])
        identity = Identity(folder / "orders")
        await enrol(OneTimeToken.decode(tokens[0]), identity)
        secrets.add_key("the Application's key", load_key(folder / "orders" / "tls.key"))
        await refused(enrol(OneTimeToken.decode(tokens[0]), Identity(folder / "thief")))

        async with up.party(folder / "orders") as application:
            await _set_webhook(application, used, receiver.url, receiver.secret)
            api = Api(application_id=used, name="orders", target_url="https://orders.example")
            await application.director.CreateApi(CreateApiRequest(api=api))
        another = WebhookReceiver()
        await _set_webhook(admin, unused, f"http://{LOOPBACK}:9/nobody-listens", another.secret)
        for name, secret in (("the webhook's secret", receiver.secret), ("another webhook's", another.secret)):
            secrets.add(name, secret.encode(), base64.b64decode(secret.removeprefix("whsec_")))

        runtime_id = await _runtime(up, admin, [used, unused], secrets)
        await receiver.wait_for("RUNTIME_READY", lambda notice: notice.type == "RUNTIME_READY", deadline=20)
        for number, answer in enumerate(await everything(admin)):
            story.answers[f"{type(answer).__name__} {number}"] = answer.SerializeToString()
        stream = admin.director.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id))
        story.answers["WatchConfigurationResponse"] = (await anext(aiter(stream))).SerializeToString()
        stream.cancel()


@asynccontextmanager
async def _webhooks() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    receiver.open()
    try:
        yield receiver
    finally:
        await receiver.close()


async def _application(admin: Party, name: str) -> str:
    request = CreateApplicationRequest(application=Application(name=name))
    return (await admin.director.CreateApplication(request)).application.application_id


async def _token(admin: Party, application_id: str) -> str:
    return (await admin.connector.IssueToken(IssueTokenRequest(application_id=application_id))).token


async def _set_webhook(party: Party, application_id: str, url: str, secret: str) -> None:
    webhook = Webhook(application_id=application_id, url=url, secret=secret)
    await party.director.UpdateWebhook(UpdateWebhookRequest(webhook=webhook))


async def _runtime(up: Up, admin: Party, application_ids: list[str], secrets: Secrets) -> str:
    """Create a Runtime that those Applications serve, and look at its token on its way to the agent; its id."""
    group = (
        await admin.director.CreateGroup(CreateGroupRequest(group=Group(name="shop"), application_ids=application_ids))
    ).group
    operation = await admin.provisioner.CreateRuntime(CreateRuntimeRequest(name="edge", group_ids=[group.group_id]))

    async def token() -> str:
        return "".join(file.read_text() for file in up.home.glob("provisioner/runtimes/*/token"))

    secrets.add_token("the Runtime's token", await eventually("the Runtime's token", token))
    request = WaitOperationRequest(name=operation.name, timeout=Duration(seconds=30))
    done = await admin.operations.WaitOperation(request, timeout=40)
    assert done.HasField("response"), done
    metadata = RuntimeOperationMetadata()
    done.metadata.Unpack(metadata)
    return metadata.runtime_id


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

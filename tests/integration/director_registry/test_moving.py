"""`moorage director export` and `import`: a registry goes to another database, and its plane goes on there."""

import asyncio
import json
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.credential_pb2 import (
    BearerCredential,
    Credential,
    FetchCredentialsRequest,
    UpdateCredentialRequest,
)
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.director.v1.webhook_pb2 import GetWebhookRequest, UpdateWebhookRequest, Webhook
from sqlalchemy import insert, text

from director.store import tables
from mesh.channel import LiveChannel
from mesh.exits import Exit
from tests.integration.director_registry.process import DirectorProcess
from tests.integration.director_webhooks.receiver import receiving
from tests.support.directors import Client
from tests.support.plane import MOORAGE, moorage
from tests.support.postgresql import PostgresqlServer
from tests.support.secrets import Secrets
from tests.support.wait import eventually
from tests.support.watcher import Watcher
from tests.unit.director.plane import Plane, new_id
from tests.unit.director_webhooks.test_settings import SECRET

pytestmark = pytest.mark.timeout(180)

DEADLINE = 50
TOKEN = "the token of orders"
MANY = 12_000
"""Rows: enough for a word of progress, and for more than a pipe holds."""


class Move:
    """A Director on SQLite, and one that is to take its place on PostgreSQL."""

    def __init__(self, folder: Path, server: PostgresqlServer) -> None:
        for name in ("old", "new"):
            (folder / name).mkdir()
        self.old, self.new = DirectorProcess(folder / "old"), DirectorProcess(folder / "new")
        self.new.settings |= {
            "identity": self.old.settings["identity"],
            "sealing_key": self.old.settings["sealing_key"],
            "database": server.url(server.create_database()),
            "dbos_database": server.url(server.create_database()),
        }
        self.file = folder / "registry.jsonl"
        self.sealing_key = Path(self.old.settings["sealing_key"])
        self._channels: list[LiveChannel] = []

    async def move(self) -> dict[str, Any]:
        """Export from the one, which may run, into the database of the other; what was told of it."""
        await command("export", self.config(self.old), "-o", str(self.file))
        return json.loads(await command("import", self.config(self.new), "-o", "json", str(self.file)))  # type: ignore[no-any-return]

    def config(self, director: DirectorProcess) -> str:
        path = director.folder / "transfer.toml"
        path.write_text("[director]\n" + "".join(f'{key} = "{value}"\n' for key, value in director.settings.items()))
        return str(path)

    def client(self, kind: str, name: str) -> Client:
        """One that calls the old one until that is away, and then the new one."""
        identity = self.old.mint.identity(kind, name)
        channels = [LiveChannel(each.settings["listen"], identity) for each in (self.old, self.new)]
        self._channels += channels
        return Client(channels, first=0)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        for director in (self.old, self.new):
            await director.close()

    def revision(self) -> int:
        """That of the new one's database."""
        with psycopg.connect(self.new.settings["database"]) as connection:
            row = connection.execute("SELECT revision FROM plane").fetchone()
        assert row is not None
        revision: int = row[0]
        return revision


async def command(name: str, config: str, *more: str) -> str:
    done = await asyncio.to_thread(moorage, "director", name, "--config", config, *more)
    assert done.returncode == Exit.OK, done.stderr
    return done.stdout


@pytest.fixture
async def move(tmp_path: Path, postgresql: PostgresqlServer) -> AsyncIterator[Move]:
    move = Move(tmp_path, postgresql)
    yield move
    await move.close()


async def test_agents_applications_and_secrets_go_on_at_the_database_that_a_registry_was_moved_to(move: Move) -> None:
    await move.old.start()
    admin = move.client("admin", "ann")
    create = CreateApplicationRequest(application=Application(name="orders"), request_id=new_id())
    application_id = (await admin.call("CreateApplication", create)).application.application_id
    orders = move.client("application", application_id)
    api = Api(application_id=application_id, name="orders", target_url="https://orders.test")
    api_id = (await orders.call("CreateApi", CreateApiRequest(api=api))).api.api_id
    group = (await admin.call("CreateGroup", CreateGroupRequest(group=Group(name="shop")))).group.group_id
    runtime = CreateRuntimeRequest(runtime=Runtime(name="edge"), group_ids=[group])
    runtime_id = (await admin.call("CreateRuntime", runtime)).runtime.runtime_id
    credential = Credential(application_id=application_id, api_id=api_id, bearer=BearerCredential(token=TOKEN))
    await orders.call("UpdateCredential", UpdateCredentialRequest(credential=credential))
    with receiving() as receiver:
        receiver.statuses["/in"] = 503
        webhook = Webhook(application_id=application_id, url=f"{receiver.url}/in", secret=SECRET)
        await orders.call("UpdateWebhook", UpdateWebhookRequest(webhook=webhook))
        join = AddGroupMembersRequest(group_id=group, application_ids=[application_id])
        await admin.call("AddGroupMembers", join)

        watcher = Watcher(runtime_id, move.client("runtime", runtime_id))
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watcher.run())
            await eventually("the configuration", lambda: asyncio.sleep(0, watcher.held))
            await eventually("a notice that waits", lambda: asyncio.sleep(0, receiver.received))
            done = await move.move()
            assert await move.old.end(signal.SIGTERM) == 0
            assert watcher.held is not None
            assert (done["plane_id"], done["revision"]) == (watcher.held.plane_id, watcher.held.revision)
            receiver.statuses.clear()
            await move.new.start()

            again = (await admin.call("CreateApplication", create)).application
            assert again.application_id == application_id
            assert move.revision() == done["revision"]
            another = Api(application_id=application_id, name="returns", target_url="https://returns.test")
            await orders.call("CreateApi", CreateApiRequest(api=another))
            assert move.revision() == done["revision"] + 1
            await eventually("the change", lambda: asyncio.sleep(0, watcher.revisions[-1] == done["revision"] + 1))
            watching.cancel()
        assert watcher.begun[0] == "SNAPSHOT"
        assert watcher.begun[1:]
        assert set(watcher.begun[1:]) <= {"DELTA", "BOOKMARK"}

        fetched = await watcher.client.call("FetchCredentials", FetchCredentialsRequest(runtime_id=runtime_id))
        assert [each.bearer.token for each in fetched.credentials] == [TOKEN]

        async def delivered() -> bool:
            request = GetWebhookRequest(application_id=application_id)
            return (await orders.call("GetWebhook", request)).webhook.pending_notices == 0  # type: ignore[no-any-return]

        await eventually("the notice", delivered, DEADLINE)
        assert len(receiver.received) > 1
        assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    secrets = Secrets()
    secrets.add("the credential", TOKEN.encode())
    secrets.add("the webhook's secret", SECRET.encode(), bytes(range(32)))
    secrets.add("the sealing key", move.sealing_key.read_bytes())
    assert secrets.found_in({"the file": move.file.read_bytes()}) == []


class Registries:
    """One with something in it, and the settings of a database that it can go to."""

    def __init__(self, folder: Path, source: str, target: str) -> None:
        self.folder = folder
        self.plane = Plane(source)
        self.plane.group("", [self.plane.application().application_id], [self.plane.runtime().runtime_id])
        self.source, self.target = (self._config(name, url) for name, url in (("source", source), ("target", target)))
        self.file = folder / "registry.jsonl"

    def _config(self, name: str, url: str) -> str:
        path = self.folder / f"{name}.toml"
        settings = {"identity": "unused", "database": url, "dbos_database": "unused", "sealing_key": "unused"}
        path.write_text("[director]\n" + "".join(f'{key} = "{value}"\n' for key, value in settings.items()))
        return str(path)

    def export(self, *more: str) -> subprocess.CompletedProcess[str]:
        return moorage("director", "export", "--config", self.source, *more)

    def take(self, *more: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return moorage("director", "import", "--config", self.target, *more, stdin=stdin)

    def exported(self) -> str:
        done = self.export()
        assert done.returncode == Exit.OK, done.stderr
        return done.stdout

    def fill(self) -> None:
        fixed = {"position": 0, "time": 0, "actor": "", "request_id": "", "action": "UPDATE", "kind": "GROUP"}
        rows = [{**fixed, "revision": n, "resource_id": "g" * 36} for n in range(1000, 1000 + MANY)]
        with self.plane.transaction() as tx:
            tx.execute(insert(tables.changes), rows)


@pytest.fixture
def registries(director_url: str, tmp_path: Path) -> Iterator[Registries]:
    registries = Registries(tmp_path, director_url, f"sqlite:///{tmp_path}/target.sqlite")
    yield registries
    registries.plane.close()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Registries]:
    registries = Registries(tmp_path, f"sqlite:///{tmp_path}/source.sqlite", f"sqlite:///{tmp_path}/target.sqlite")
    yield registries
    registries.plane.close()


def test_one_command_pours_into_the_other(registries: Registries) -> None:
    export, take = (
        shlex.join([*MOORAGE, "director", name, "--config", config])
        for name, config in (("export", registries.source), ("import", registries.target))
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{export} | {take} -o json -"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == Exit.OK, done.stderr
    told = json.loads(done.stdout)
    assert (told["revision"], told["tables"]["groups"]) == (3, 1)
    registries.source = registries.target
    assert f'"sha256":"{told["sha256"]}"' in registries.exported()


def test_a_file_is_for_its_owner_alone_and_nothing_is_on_standard_output(registries: Registries) -> None:
    done = registries.export("-o", str(registries.file))
    assert (done.returncode, done.stdout) == (Exit.OK, "")
    assert "applications 1" in done.stderr
    assert registries.file.stat().st_mode & 0o777 == 0o600
    assert registries.file.read_text() == registries.exported()
    assert [path.name for path in registries.folder.glob("*registry*")] == ["registry.jsonl"]


def test_a_file_that_is_there_is_not_replaced(on_sqlite: Registries) -> None:
    on_sqlite.file.write_text("something else")
    done = on_sqlite.export("-o", str(on_sqlite.file))
    assert done.returncode == Exit.CONFLICT
    assert f"{on_sqlite.file} exists already" in done.stderr
    assert on_sqlite.file.read_text() == "something else"


def test_an_import_tells_what_it_did_line_by_line(on_sqlite: Registries) -> None:
    on_sqlite.file.write_text(on_sqlite.exported())
    done = on_sqlite.take(str(on_sqlite.file))
    assert done.returncode == Exit.OK, done.stderr
    told = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert told["revision"].strip() == "3"
    assert "applications 1, " in told["tables"]


def test_a_registry_that_was_used_is_not_imported_into(on_sqlite: Registries) -> None:
    file = on_sqlite.exported()
    assert on_sqlite.take("-", stdin=file).returncode == Exit.OK
    done = on_sqlite.take("-", stdin=file)
    assert (done.returncode, done.stdout) == (Exit.CONFLICT, "")
    assert "holds a registry already, and nothing was changed" in done.stderr


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("garbage\n", "line 1: this is not an export of a Director; nothing was imported"),
        ("", "line 1: the file ends here"),
    ],
)
def test_what_is_no_export_makes_no_database(on_sqlite: Registries, file: str, said: str) -> None:
    done = on_sqlite.take("-", stdin=file)
    assert done.returncode == Exit.BAD_INPUT
    assert said in done.stderr
    assert not (on_sqlite.folder / "target.sqlite").exists()


def test_a_file_that_cannot_be_read_is_named(on_sqlite: Registries) -> None:
    for name in ("none", "."):
        done = on_sqlite.take(str(on_sqlite.folder / name))
        assert done.returncode == Exit.BAD_INPUT
        assert f"{on_sqlite.folder / name} cannot be read: " in done.stderr


def test_a_database_that_is_not_there_is_not_made(on_sqlite: Registries) -> None:
    on_sqlite.source = on_sqlite.target
    done = on_sqlite.export("-o", str(on_sqlite.file))
    assert done.returncode == Exit.SERVICE_FAILED
    assert "unable to open database file" in done.stderr
    assert not list(on_sqlite.folder.glob("*registry*"))
    assert not (on_sqlite.folder / "target.sqlite").exists()


def test_a_database_of_another_release_is_to_be_migrated_first(registries: Registries) -> None:
    with registries.plane.transaction() as tx:
        [version] = tx.execute(text("SELECT version_num FROM alembic_version")).scalars()
        tx.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    try:
        done = registries.export()
    finally:
        with registries.plane.transaction() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    assert (done.returncode, done.stdout) == (Exit.SERVICE_FAILED, "")
    assert "run `moorage director migrate` first" in done.stderr


def test_a_reader_that_goes_away_ends_an_export_with_one_line(on_sqlite: Registries) -> None:
    on_sqlite.fill()
    with running("export", on_sqlite.source) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('{"format"')
        process.stdout.close()
        assert process.wait(DEADLINE) == Exit.SERVICE_FAILED
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "director: [Errno 32] Broken pipe"


def test_an_export_that_is_interrupted_ends_at_once(on_sqlite: Registries) -> None:
    on_sqlite.fill()
    with running("export", on_sqlite.source) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('{"format"')  # and then it waits to be read
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == Exit.INTERRUPTED


def test_an_import_that_is_interrupted_leaves_nothing(on_sqlite: Registries) -> None:
    on_sqlite.fill()
    file = on_sqlite.exported()
    with running("import", on_sqlite.target, "-") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.writelines(file.splitlines(keepends=True)[:-1])
        process.stdin.flush()
        assert process.stderr.readline() == "director: 10000 rows, at changes\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == Exit.INTERRUPTED
    assert on_sqlite.take("-", stdin=file).returncode == Exit.OK


def running(name: str, config: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*MOORAGE, "director", name, "--config", config, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

"""Data keys and their rotation: no secret is lost, whatever comes in between, and none lies in the open."""

import asyncio
import shutil
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import LargeBinary, insert, select, update

from director import keys, rotation
from director.settings import DirectorSettings
from director.store import Transaction, tables
from director.store import keys as store
from director.store.keys import SEALED_COLUMNS, owner_of
from mesh.database import Database
from mesh.sealing import KEY_BYTES, DataKey, KeyFile, KeyProviders, Seal, SealingReason, SealingRefused
from mesh.settings import SettingsRefused
from tests.support.sealing import BEGIN, sealing
from tests.unit.director.plane import Plane, new_id


class Killed(Exception):
    """The process ended here."""


class Dying:
    """A database whose user is killed after `units` writes, at the next one: before it or just after its commit."""

    def __init__(self, database: Database, units: int, *, commits: bool) -> None:
        self.read = database.read
        self._database = database
        self._units = units
        self._commits = commits

    async def write(self, *args: Any, **kwargs: Any) -> Any:
        self._units -= 1
        if self._units >= 0:
            return await self._database.write(*args, **kwargs)
        if self._commits:
            await self._database.write(*args, **kwargs)
        raise Killed


def put(tx: Transaction, seal: Seal, application_id: str, target_id: str, secret: bytes) -> None:
    """Store a credential of an API that all Runtimes share."""
    row = {"application_id": application_id, "target_id": target_id, "runtime_id": ""}
    sealed = seal.seal(tx, secret, owner_of(*row.values()))
    if not tx.execute(update(tables.credentials).filter_by(**row).values(sealed=sealed)).rowcount:
        rest = {"target_kind": "API", "type": 1, "update_time": 0, "revision": 1}
        tx.execute(insert(tables.credentials).values(**row, **rest, sealed=sealed))


def read(tx: Transaction, seal: Seal) -> dict[str, bytes]:
    """Every credential, as that instance unseals it, by its API."""
    return {
        row.target_id: seal.unseal(tx, row.sealed, owner_of(row.application_id, row.target_id, row.runtime_id))
        for row in tx.execute(select(tables.credentials))
    }


class Vault:
    """A plane with secrets in it, and the instances that use it."""

    def __init__(self, plane: Plane, folder: Path) -> None:
        self.plane = plane
        self.key_file = folder / "sealing.key"
        self.provider = KeyFile(self.key_file)
        self.application_id = self.plane.application().application_id
        self.instances = [self.instance() for _ in range(2)]

    @property
    def database(self) -> Database:
        return self.plane.database

    def instance(self) -> Seal:
        """One that has just been started."""
        return sealing(self.plane, self.key_file)

    def put(self, seal: Seal, target_id: str, secret: bytes) -> None:
        with self.plane.transaction() as tx:
            put(tx, seal, self.application_id, target_id, secret)

    def put_webhook(self, seal: Seal, secret: bytes) -> str:
        application_id = self.plane.application().application_id
        self.plane.add_webhook(application_id)
        with self.plane.transaction() as tx:
            sealed = seal.seal(tx, secret, application_id)
            tx.execute(update(tables.webhooks).filter_by(application_id=application_id).values(sealed_secret=sealed))
        return application_id

    def read(self, seal: Seal) -> dict[str, bytes]:
        with self.plane.transaction() as tx:
            return read(tx, seal)

    def keys(self) -> list[str]:
        return [row["key_id"] for row in self.plane.rows(tables.data_keys)]

    def rotate(self, database: object = None, batch: int = 2) -> rotation.Rotation:
        work = rotation.rotate(
            cast(Database, database or self.database), self.provider, lambda: BEGIN, lambda _: None, batch=batch
        )
        return asyncio.run(work)

    def rewrap(self, database: object = None) -> rotation.Rewrapping:
        return asyncio.run(rotation.rewrap(cast(Database, database or self.database), self.provider, lambda _: None))

    def replace_key_file(self, key: bytes) -> None:
        """As docs/operating.md says."""
        shutil.copy(self.key_file, f"{self.key_file}.previous")
        new = self.key_file.with_name("new")
        new.touch(0o600)
        new.write_bytes(key)
        new.rename(self.key_file)


@pytest.fixture
def vault(plane: Plane, tmp_path: Path) -> Vault:
    return Vault(plane, tmp_path)


class Sequences(RuleBasedStateMachine):
    """Whatever is done in whatever order, every instance reads what was stored last."""

    units = st.integers(0, 8)
    apis = st.sampled_from([f"00000000-0000-4000-8000-00000000000{n}" for n in range(7)])
    instances = st.integers(0, 1)

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__()
        self.vault = Vault(Plane(url), folder)
        self.stored: dict[str, bytes] = {}
        self.numbers = count(1)

    @rule(api=apis, instance=instances, secret=st.binary(min_size=0, max_size=40))
    def put(self, api: str, instance: int, secret: bytes) -> None:
        self.vault.put(self.vault.instances[instance], api, secret)
        self.stored[api] = secret

    @rule(batch=st.integers(1, 4))
    def rotate(self, batch: int) -> None:
        before = self.vault.keys()
        done = self.vault.rotate(batch=batch)
        assert done.resumed == (len(before) > 1)
        assert self.vault.keys() == [done.data_key]
        assert {bytes(row["sealed"][1:9]).hex() for row in self.vault.plane.rows(tables.credentials)} <= {done.data_key}

    @rule(units=units, commits=st.booleans(), batch=st.integers(1, 4))
    def rotate_and_be_killed(self, units: int, commits: bool, batch: int) -> None:
        try:
            self.vault.rotate(Dying(self.vault.database, units, commits=commits), batch)
        except Killed:
            return

    @rule()
    def replace_the_key_file(self) -> None:
        self.vault.replace_key_file(next(self.numbers).to_bytes(KEY_BYTES))
        done = self.vault.rewrap()
        assert sorted(done.rewrapped) == sorted(self.vault.keys())
        self.vault.key_file.with_name("sealing.key.previous").unlink()

    @rule(units=units, commits=st.booleans())
    def rewrap_and_be_killed(self, units: int, commits: bool) -> None:
        try:
            self.vault.rewrap(Dying(self.vault.database, units, commits=commits))
        except Killed:
            return

    @rule(instance=instances)
    def restart(self, instance: int) -> None:
        self.vault.instances[instance] = self.vault.instance()

    @invariant()
    def every_instance_reads_what_was_stored(self) -> None:
        for seal in (*self.vault.instances, self.vault.instance()):
            assert self.vault.read(seal) == self.stored

    def teardown(self) -> None:
        self.vault.plane.close()


def test_no_sequence_of_sealing_rotating_and_being_killed_loses_a_secret(
    engine_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    numbers = count()

    def new_url(folder: Path) -> str:
        if engine_name == "sqlite":
            return f"sqlite:///{folder}/director.sqlite"
        url: str = request.getfixturevalue("director_on_postgresql")()
        return url

    class Begun(Sequences):
        def __init__(self) -> None:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            super().__init__(new_url(folder), folder)

    run_state_machine_as_test(Begun, settings=settings(max_examples=15, stateful_step_count=12, deadline=None))


def test_a_rotation_leaves_one_key_and_says_what_it_did(vault: Vault) -> None:
    [before] = vault.keys()
    for n in range(5):
        vault.put(vault.instances[0], f"api-{n}", b"secret")
    application_id = vault.put_webhook(vault.instances[0], b"whsec_secret")
    done = vault.rotate()
    assert done == rotation.Rotation(
        data_key=vault.keys()[0],
        resumed=False,
        resealed={"webhooks.sealed_secret": 1, "credentials.sealed": 5},
        removed=[before],
        unreadable=[],
    )
    [row] = vault.plane.rows(tables.webhooks)
    with vault.plane.transaction() as tx:
        assert vault.instances[1].unseal(tx, row["sealed_secret"], application_id) == b"whsec_secret"


def test_a_rotation_that_was_killed_is_gone_on_with(vault: Vault) -> None:
    for n in range(5):
        vault.put(vault.instances[0], f"api-{n}", b"secret")
    with pytest.raises(Killed):
        vault.rotate(Dying(vault.database, 2, commits=True))
    done = vault.rotate()
    assert done.resumed
    assert 0 < done.resealed["credentials.sealed"] < 5
    assert vault.keys() == [done.data_key]


def test_nothing_is_sealed_under_the_old_key_once_there_is_a_new_one(vault: Vault) -> None:
    vault.put(vault.instances[0], "api", b"before")
    [old] = vault.keys()
    with pytest.raises(Killed):
        vault.rotate(Dying(vault.database, 0, commits=True))
    for number, seal in enumerate(vault.instances):
        vault.put(seal, f"api-{number}", b"after")
    [new] = set(vault.keys()) - {old}
    under = {row["target_id"]: row["sealed"][1:9].hex() for row in vault.plane.rows(tables.credentials)}
    assert under == {"api": old, "api-0": new, "api-1": new}


def test_a_secret_that_cannot_be_opened_is_told_and_keeps_its_key(vault: Vault) -> None:
    [before] = vault.keys()
    vault.put(vault.instances[0], "good", b"secret")
    vault.put(vault.instances[0], "moved", b"secret")
    with vault.plane.transaction() as tx:
        tx.execute(update(tables.credentials).filter_by(target_id="moved").values(target_id="elsewhere"))
    done = vault.rotate()
    assert done.removed == []
    assert [each.split(":")[0] for each in done.unreadable] == [
        f"credentials.sealed of {vault.application_id}/elsewhere/"
    ]
    assert set(vault.keys()) == {before, done.data_key}
    with vault.plane.transaction() as tx:
        [elsewhere] = [row for row in tx.execute(select(tables.credentials)) if row.target_id == "elsewhere"]
        assert elsewhere.sealed[1:9].hex() == before


def test_a_rotation_without_the_key_that_wrapped_does_nothing(vault: Vault) -> None:
    before = vault.plane.rows(tables.data_keys)
    vault.key_file.write_bytes(b"x" * KEY_BYTES)
    with pytest.raises(SealingRefused) as refused:
        vault.rotate()
    assert refused.value.reason is SealingReason.FOREIGN_KEY
    assert vault.plane.rows(tables.data_keys) == before


def test_a_change_of_the_key_file_touches_no_secret(vault: Vault) -> None:
    vault.put(vault.instances[0], "api", b"secret")
    before = vault.plane.rows(tables.credentials)
    [data_key] = vault.plane.rows(tables.data_keys)
    vault.replace_key_file(b"2" * KEY_BYTES)
    done = vault.rewrap()
    assert done == rotation.Rewrapping(provider_key=done.provider_key, rewrapped=[data_key["key_id"]])
    assert done.provider_key != data_key["provider_key_id"]
    assert vault.plane.rows(tables.credentials) == before


def test_a_secret_that_is_set_anew_meanwhile_stays_as_it_was_set(vault: Vault) -> None:
    vault.put(vault.instances[0], "api", b"old")
    credentials = next(each for each in SEALED_COLUMNS if each.column.table is tables.credentials)
    with vault.plane.transaction() as tx:
        found = store.sealed_otherwise(tx, credentials, "00" * 8, None, 10)
    vault.put(vault.instances[0], "api", b"new")
    with vault.plane.transaction() as tx:
        store.store_sealed(tx, credentials, [(found[0], b"a resealing of the old one")])
    assert vault.read(vault.instances[0]) == {"api": b"new"}


def test_the_database_holds_no_secret_and_no_key_in_the_open(vault: Vault) -> None:
    keys_made = iter([b"K" * KEY_BYTES])
    seal = vault.instances[0]
    vault.put(seal, "api", b"a-secret-in-the-open")
    work = rotation.rotate(
        vault.database,
        vault.provider,
        lambda: BEGIN,
        lambda _: None,
        random=lambda size: next(keys_made, b"N" * size),
    )
    done = asyncio.run(work)
    assert done.data_key == DataKey(b"K" * KEY_BYTES).key_id
    stored = [
        value for table in tables.metadata.tables.values() for row in vault.plane.rows(table) for value in row.values()
    ]
    files = [file.read_bytes() for file in vault.key_file.parent.glob("*.sqlite*")]
    written = [*(value if isinstance(value, bytes) else str(value).encode() for value in stored), *files]
    for secret in (b"a-secret-in-the-open", b"K" * KEY_BYTES, vault.key_file.read_bytes()):
        assert not [each for each in written if secret in each]


def test_every_column_of_sealed_secrets_is_known_to_the_rotation() -> None:
    sealed = {
        f"{table.name}.{column.name}"
        for table in tables.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and "sealed" in column.name
    }
    assert {each.name for each in SEALED_COLUMNS} == sealed
    assert all(column.table is each.column.table for each in SEALED_COLUMNS for column in each.owner)


def test_instances_that_start_together_agree_on_the_first_key(vault: Vault) -> None:
    def begin(tx: Transaction) -> list[str]:
        tx.execute(tables.data_keys.delete())
        made = [keys.make_first(tx, keys.new_key(vault.provider), 0) for _ in range(2)]
        return [key.key_id for key in made]

    with vault.plane.transaction() as tx:
        first, second = begin(tx)
    assert first == second
    assert vault.keys() == [first]


async def test_an_instance_that_has_not_the_key_of_the_plane_does_not_start(plane: Plane, tmp_path: Path) -> None:
    begin = partial(keys.open_seal, plane.database, clock=lambda: BEGIN)
    await begin(KeyFile(tmp_path / "sealing.key"))
    with pytest.raises(SealingRefused):
        await begin(KeyFile(tmp_path / "elsewhere.key"))
    assert not (tmp_path / "elsewhere.key").exists()


def director_settings(folder: Path, **more: Any) -> DirectorSettings:
    return DirectorSettings(
        identity=folder, database="sqlite:///x", dbos_database="sqlite:///y", sealing_key=folder / new_id(), **more
    )


def test_the_settings_say_who_wraps_and_keep_who_did_before(tmp_path: Path) -> None:
    command = ("/usr/bin/false",)
    assert isinstance(keys.key_provider(director_settings(tmp_path)), KeyFile)
    for provider in ("file", "command"):
        chosen = keys.key_provider(
            director_settings(tmp_path, sealing_key_provider=provider, sealing_key_command=command)
        )
        assert isinstance(chosen, KeyProviders)
        assert chosen.scheme == provider
    with pytest.raises(SettingsRefused):
        keys.key_provider(director_settings(tmp_path, sealing_key_provider="command"))

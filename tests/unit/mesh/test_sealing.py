"""Sealing within a unit of work, with data keys out of a store. `tx` is whatever the store takes: here, a dict."""

from pathlib import Path

import pytest
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal
from mesh.sealing import (
    KEY_BYTES,
    DataKey,
    KeyFile,
    KeyProvider,
    Seal,
    SealingReason,
    SealingRefused,
    StoredKey,
    WrappedKey,
)

SECRET = b"whsec_not-for-others"
Database = dict[str, StoredKey]
"""Keys by their id; the one that was added last is active."""


class Keys:
    """The store of such a database; counts the keys that were looked for."""

    def __init__(self) -> None:
        self.finds = 0

    def hold_active(self, tx: Database) -> StoredKey | None:
        return list(tx.values())[-1] if tx else None

    def find(self, tx: Database, key_id: str) -> StoredKey | None:
        self.finds += 1
        return tx.get(key_id)


def add_key(tx: Database, provider: KeyProvider, key: bytes) -> StoredKey:
    stored = StoredKey(DataKey(key).key_id, provider.wrap(key))
    tx[stored.key_id] = stored
    return stored


@pytest.fixture
def provider(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "sealing.key")


@pytest.fixture
def tx(provider: KeyFile) -> Database:
    database: Database = {}
    add_key(database, provider, b"1" * KEY_BYTES)
    return database


@pytest.fixture
def seal(provider: KeyFile) -> Seal:
    return Seal(provider, Keys())


def reason_of(seal: Seal, tx: Database, sealed: bytes, owner: str = "owner") -> SealingReason:
    with pytest.raises(SealingRefused) as refused:
        seal.unseal(tx, sealed, owner)
    return refused.value.reason


def test_what_was_sealed_for_an_owner_is_unsealed_for_it(seal: Seal, tx: Database) -> None:
    assert seal.unseal(tx, seal.seal(tx, SECRET, "owner"), "owner") == SECRET


def test_another_instance_unseals_it_too(seal: Seal, tx: Database, provider: KeyFile) -> None:
    assert Seal(provider, Keys()).unseal(tx, seal.seal(tx, SECRET, "owner"), "owner") == SECRET


def test_a_key_that_becomes_active_is_sealed_under_at_once_by_whoever_remembers_another(
    seal: Seal, tx: Database, provider: KeyFile
) -> None:
    before = seal.seal(tx, SECRET, "owner")
    active = add_key(tx, provider, b"2" * KEY_BYTES)
    after = seal.seal(tx, SECRET, "owner")
    assert bytes.fromhex(active.key_id) in after
    assert bytes.fromhex(active.key_id) not in before
    assert [seal.unseal(tx, sealed, "owner") for sealed in (before, after)] == [SECRET, SECRET]


def test_a_key_is_unwrapped_once(provider: KeyFile, tx: Database, tmp_path: Path) -> None:
    seal = Seal(provider, Keys())
    sealed = seal.seal(tx, SECRET, "owner")
    (tmp_path / "sealing.key").unlink()
    assert seal.unseal(tx, sealed, "owner") == SECRET


def test_unsealing_under_a_remembered_key_asks_the_store_nothing(provider: KeyFile, tx: Database) -> None:
    keys = Keys()
    seal = Seal(provider, keys)
    sealed = seal.seal(tx, SECRET, "owner")
    seal.unseal(tx, sealed, "owner")
    assert keys.finds == 0


def test_a_secret_moved_to_another_owner_is_refused(seal: Seal, tx: Database) -> None:
    assert reason_of(seal, tx, seal.seal(tx, SECRET, "one"), "another") is SealingReason.TAMPERED


def test_a_secret_of_a_key_that_is_gone_is_told_from_a_tampered_one(seal: Seal, tx: Database) -> None:
    foreign = DataKey(b"3" * KEY_BYTES).seal(SECRET, "owner")
    assert reason_of(seal, tx, foreign) is SealingReason.FOREIGN_KEY


def test_no_changed_or_missing_byte_goes_unnoticed(seal: Seal, tx: Database) -> None:
    sealed = seal.seal(tx, SECRET, "owner")
    for i in range(len(sealed)):
        changed = sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :]
        for forged in (changed, sealed[:i]):
            reason_of(seal, tx, forged)


def test_the_same_secret_is_never_sealed_alike_twice(seal: Seal, tx: Database) -> None:
    assert seal.seal(tx, SECRET, "owner") != seal.seal(tx, SECRET, "owner")


def test_a_data_key_stored_under_the_id_of_another_is_refused(seal: Seal, tx: Database, provider: KeyFile) -> None:
    sealed = seal.seal(tx, SECRET, "owner")
    [stored] = tx.values()
    swapped = {stored.key_id: StoredKey(stored.key_id, provider.wrap(b"2" * KEY_BYTES))}
    with pytest.raises(Refusal):
        Seal(provider, Keys()).unseal(swapped, sealed, "owner")


def test_a_provider_that_is_away_is_a_dependency_that_is_away(tx: Database, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        Seal(KeyFile(tmp_path / "missing.key"), Keys()).seal(tx, SECRET, "owner")
    assert refused.value.reason == Reason.REASON_DEPENDENCY_UNAVAILABLE


def test_a_database_without_a_data_key_seals_nothing(seal: Seal) -> None:
    with pytest.raises(SealingRefused):
        seal.seal({}, SECRET, "owner")


def test_neither_key_nor_secret_shows_in_representations_and_errors(provider: KeyFile) -> None:
    key = bytes(range(KEY_BYTES))
    tx: Database = {}
    stored = add_key(tx, provider, key)
    seal = Seal(provider, Keys())
    with pytest.raises(SealingRefused) as refused:
        seal.unseal(tx, seal.seal(tx, SECRET, "owner"), "another")
    shown = f"{seal!r} {vars(seal)!r} {refused.value!r} {stored!r} {vars(DataKey(key))!r}"
    assert key.hex() not in shown
    assert repr(key)[2:-1] not in shown
    assert SECRET.decode() not in shown


@pytest.mark.parametrize("key", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_data_key_of_another_length_is_refused(key: bytes, tx: Database) -> None:
    class Odd:
        scheme = "odd"

        def wrap(self, key: bytes) -> WrappedKey:
            return WrappedKey("odd:1", key)

        def unwrap(self, wrapped: WrappedKey) -> bytes:
            return key

    with pytest.raises(Refusal):
        Seal(Odd(), Keys()).seal(tx, SECRET, "owner")

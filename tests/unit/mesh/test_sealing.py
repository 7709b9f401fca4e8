import stat
from pathlib import Path

import pytest

from mesh.sealing import KEY_BYTES, Seal, SealingReason, SealingRefused

SECRET = b"whsec_not-for-others"


def test_what_was_sealed_for_an_owner_is_unsealed_for_it(tmp_path: Path) -> None:
    seal = Seal.open(tmp_path / "sealing.key")
    assert seal.unseal(seal.seal(SECRET, "owner"), "owner") == SECRET


def test_the_key_outlives_a_restart(tmp_path: Path) -> None:
    sealed = Seal.open(tmp_path / "sealing.key").seal(SECRET, "owner")
    assert Seal.open(tmp_path / "sealing.key").unseal(sealed, "owner") == SECRET


def test_the_key_file_is_for_its_owner_only_and_the_only_one_left(tmp_path: Path) -> None:
    path = tmp_path / "director" / "sealing.key"
    Seal.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == KEY_BYTES
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    Seal.open(path)
    path.chmod(0o640)
    with pytest.raises(SealingRefused) as refused:
        Seal.open(path)
    assert refused.value.reason is SealingReason.KEY_FILE


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sealing.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealingRefused) as refused:
        Seal.open(path)
    assert refused.value.reason is SealingReason.KEY_FILE
    assert path.read_bytes() == content


def test_a_secret_moved_to_another_owner_is_refused(tmp_path: Path) -> None:
    seal = Seal.open(tmp_path / "sealing.key")
    with pytest.raises(SealingRefused) as refused:
        seal.unseal(seal.seal(SECRET, "one"), "another")
    assert refused.value.reason is SealingReason.TAMPERED


def test_a_secret_of_another_key_is_told_from_a_tampered_one(tmp_path: Path) -> None:
    ours, foreign = Seal.open(tmp_path / "ours.key"), Seal.open(tmp_path / "foreign.key")
    with pytest.raises(SealingRefused) as refused:
        ours.unseal(foreign.seal(SECRET, "owner"), "owner")
    assert refused.value.reason is SealingReason.FOREIGN_KEY


def test_no_changed_or_missing_byte_goes_unnoticed(tmp_path: Path) -> None:
    seal = Seal.open(tmp_path / "sealing.key")
    sealed = seal.seal(SECRET, "owner")
    for i in range(len(sealed)):
        changed = sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :]
        for forged in (changed, sealed[:i]):
            with pytest.raises(SealingRefused):
                seal.unseal(forged, "owner")


def test_the_same_secret_is_never_sealed_alike_twice(tmp_path: Path) -> None:
    seal = Seal.open(tmp_path / "sealing.key")
    assert seal.seal(SECRET, "owner") != seal.seal(SECRET, "owner")


def test_neither_key_nor_secret_shows_in_representations_and_errors(tmp_path: Path) -> None:
    key = bytes(range(KEY_BYTES))
    seal = Seal(key)
    with pytest.raises(SealingRefused) as refused:
        seal.unseal(seal.seal(SECRET, "owner"), "another")
    shown = f"{seal!r} {vars(seal)!r} {refused.value!r}"
    assert key.hex() not in shown
    assert repr(key)[2:-1] not in shown
    assert SECRET.decode() not in shown

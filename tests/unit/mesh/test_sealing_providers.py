"""Who wraps data keys: a file, an operator's program, or one after the other."""

import base64
import stat
import sys
from pathlib import Path

import pytest

from mesh.sealing import KEY_BYTES, KeyCommand, KeyFile, KeyProviders, SealingReason, SealingRefused, WrappedKey

DATA_KEY = bytes(range(KEY_BYTES))
NEVER = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "director" / "sealing.key"


def reason_of(provider: KeyFile | KeyCommand | KeyProviders, wrapped: WrappedKey) -> SealingReason:
    with pytest.raises(SealingRefused) as refused:
        provider.unwrap(wrapped)
    assert base64.b64encode(DATA_KEY).decode() not in str(refused.value)
    return refused.value.reason


def replace(path: Path, key: bytes) -> None:
    """The operator's way to another key-encryption key."""
    path.rename(f"{path}.previous")
    path.touch(0o600)
    path.write_bytes(key)


def program(folder: Path, body: str) -> list[str]:
    """A key command in Python, where `verb` is what to do and `said` the lines that it was sent."""
    file = folder / "command.py"
    file.write_text(f"import sys, time\nverb, said = sys.argv[-1], sys.stdin.read().splitlines()\n{body}\n")
    return [sys.executable, "-I", str(file)]


def turning(folder: Path, name: str = "key/1") -> list[str]:
    """A key command that wraps by turning small letters into large ones."""
    body = f"print({name!r}, said[0].swapcase(), sep='\\n') if verb == 'wrap' else print(said[1].swapcase())"
    return program(folder, body)


def test_what_a_file_wraps_it_unwraps_and_it_names_its_key(path: Path) -> None:
    wrapped = KeyFile(path).wrap(DATA_KEY)
    assert KeyFile(path).unwrap(wrapped) == DATA_KEY
    assert wrapped.provider_key_id.startswith("file:")
    assert DATA_KEY not in wrapped.wrapped


def test_the_key_file_is_made_for_its_owner_only_and_is_the_only_one_left(path: Path) -> None:
    KeyFile(path).wrap(DATA_KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == KEY_BYTES
    assert list(path.parent.iterdir()) == [path]


def test_unwrapping_makes_no_key_file(path: Path) -> None:
    wrapped = KeyFile(path).wrap(DATA_KEY)
    path.unlink()
    assert reason_of(KeyFile(path), wrapped) is SealingReason.KEY_FILE
    assert not path.exists()


def test_a_key_file_that_is_just_being_replaced_is_not_made_anew(path: Path) -> None:
    KeyFile(path).wrap(DATA_KEY)
    path.rename(f"{path}.previous")
    with pytest.raises(SealingRefused):
        KeyFile(path).wrap(DATA_KEY)
    assert not path.exists()


@pytest.mark.parametrize("name", ["sealing.key", "sealing.key.previous"])
def test_a_key_file_that_others_may_read_is_refused(path: Path, name: str) -> None:
    provider = KeyFile(path)
    wrapped = provider.wrap(DATA_KEY)
    replace(path, b"2" * KEY_BYTES)
    path.with_name(name).chmod(0o640)
    assert reason_of(provider, wrapped) is SealingReason.KEY_FILE


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sealing.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(SealingRefused) as refused:
        KeyFile(path).wrap(DATA_KEY)
    assert refused.value.reason is SealingReason.KEY_FILE
    assert path.read_bytes() == content


def test_a_file_that_is_replaced_counts_at_once_and_the_one_before_it_still_unwraps(path: Path) -> None:
    provider = KeyFile(path)
    before = provider.wrap(DATA_KEY)
    replace(path, b"2" * KEY_BYTES)
    after = provider.wrap(DATA_KEY)
    assert after.provider_key_id != before.provider_key_id
    assert (provider.unwrap(before), provider.unwrap(after)) == (DATA_KEY, DATA_KEY)


def test_a_key_that_is_in_neither_file_is_told_by_its_name(path: Path, tmp_path: Path) -> None:
    KeyFile(path).wrap(DATA_KEY)
    assert reason_of(KeyFile(path), KeyFile(tmp_path / "other.key").wrap(DATA_KEY)) is SealingReason.FOREIGN_KEY


def test_no_changed_byte_of_a_wrapped_key_goes_unnoticed(path: Path) -> None:
    wrapped = KeyFile(path).wrap(DATA_KEY)
    for i in range(len(wrapped.wrapped)):
        changed = wrapped.wrapped[:i] + bytes([wrapped.wrapped[i] ^ 1]) + wrapped.wrapped[i + 1 :]
        for forged in (changed, wrapped.wrapped[:i]):
            assert reason_of(KeyFile(path), wrapped._replace(wrapped=forged)) is SealingReason.TAMPERED


def test_what_a_command_wraps_it_unwraps_by_the_name_that_it_gave(tmp_path: Path) -> None:
    provider = KeyCommand(turning(tmp_path), NEVER)
    wrapped = provider.wrap(DATA_KEY)
    assert wrapped.provider_key_id == "command:key/1"
    assert provider.unwrap(wrapped) == DATA_KEY


def test_no_key_is_in_the_arguments_or_the_environment_of_a_command(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    spy = f"import os; open({str(seen)!r}, 'a').write(repr((sys.argv, os.environ))); print('k', said[-1], sep='\\n')"
    KeyCommand(program(tmp_path, spy), NEVER).wrap(DATA_KEY)
    assert "'wrap'" in seen.read_text()
    assert base64.b64encode(DATA_KEY).decode() not in seen.read_text()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('no such slot')", "ended with status 1 at wrap: no such slot"),
        ("print('one line')", "wrote 1 lines at wrap, not 2"),
        ("print('a name', said[0], sep='\\n')", "no name of a key"),
        ("print('name', '!', sep='\\n')", "not base64"),
    ],
)
def test_a_command_that_does_not_do_its_part_is_told(tmp_path: Path, body: str, told: str) -> None:
    with pytest.raises(SealingRefused, match=told) as refused:
        KeyCommand(program(tmp_path, body), NEVER).wrap(DATA_KEY)
    assert refused.value.reason is SealingReason.KEY_COMMAND


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(SealingRefused, match="cannot be started"):
        KeyCommand(["/nowhere/at-all"], NEVER).wrap(DATA_KEY)


def test_a_command_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    body = "import subprocess; subprocess.Popen(['sleep', '1000']); time.sleep(1000)"
    with pytest.raises(SealingRefused, match="took longer than"):
        KeyCommand(program(tmp_path, body), 0.2).wrap(DATA_KEY)


def test_each_of_several_providers_unwraps_its_own_and_the_first_wraps(path: Path, tmp_path: Path) -> None:
    file, command = KeyFile(path), KeyCommand(turning(tmp_path), NEVER)
    both = KeyProviders(command, file)
    assert both.wrap(DATA_KEY).provider_key_id.startswith("command:")
    assert [both.unwrap(each.wrap(DATA_KEY)) for each in (file, command)] == [DATA_KEY, DATA_KEY]


def test_a_key_of_a_provider_that_is_not_set_any_more_is_told(path: Path, tmp_path: Path) -> None:
    wrapped = KeyCommand(turning(tmp_path), NEVER).wrap(DATA_KEY)
    assert reason_of(KeyProviders(KeyFile(path)), wrapped) is SealingReason.FOREIGN_KEY

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path, PosixPath
from typing import Any, NamedTuple

import pytest

from certs.authority import Authority, certificates_to_pem
from certs.check import serial_hex
from certs.identity import Identity, IdentityReason, IdentityRefused
from certs.issue import issue
from certs.keys import key_to_pem, new_key
from certs.spiffe import SpiffeId
from tests.unit.certs.forge import LEAF, NOW, TRUST_DOMAIN, UUID, StoppedClock

NAMES = ("tls.key", "tls.crt", "ca.crt")
RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, UUID)


class Pems(NamedTuple):
    """The three files in the order in which `Identity.write` takes them."""

    key: bytes
    chain: bytes
    bundle: bytes


class Crash(BaseException):
    """The process is gone: nothing after it runs, neither handlers nor cleaning up."""


@pytest.fixture
def make_pems(issuing: Authority, root: Authority, clock: StoppedClock) -> Callable[[], Pems]:
    def make() -> Pems:
        key = new_key()
        chain = issue(issuing, key.public_key(), RUNTIME, timedelta(hours=1), clock).chain_pem
        return Pems(key_to_pem(key), chain, certificates_to_pem((root.certificate,)))

    return make


@pytest.fixture
def old(make_pems: Callable[[], Pems]) -> Pems:
    return make_pems()


@pytest.fixture
def new(make_pems: Callable[[], Pems], root: Authority) -> Pems:
    # Another bundle as well, so that no two files of the two sets are alike.
    pems = make_pems()
    return pems._replace(bundle=pems.bundle + certificates_to_pem((root.certificate,)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "identity"


@pytest.fixture
def identity(folder: Path, clock: StoppedClock) -> Identity:
    return Identity(folder, clock)


def test_an_identity_comes_back_as_it_was_written(identity: Identity, new: Pems) -> None:
    identity.write(*new)
    loaded = identity.load()
    assert Pems(loaded.key_pem, loaded.chain_pem, loaded.bundle_pem) == new
    assert loaded.spiffe_id == RUNTIME
    assert (loaded.not_before, loaded.not_after) == (NOW - timedelta(minutes=1), NOW + timedelta(hours=1))


def test_a_loaded_identity_has_the_serial_of_its_leaf(identity: Identity, issuing: Authority, root: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    identity.write(key_to_pem(LEAF.key), certificates_to_pem((leaf,)), certificates_to_pem((root.certificate,)))
    assert identity.load().serial == serial_hex(leaf)


def test_the_files_have_the_names_that_kubernetes_gives_them(identity: Identity, folder: Path, new: Pems) -> None:
    identity.write(*new)
    assert _visible(folder) == new
    assert {entry.name for entry in folder.iterdir() if not entry.name.startswith("..")} == set(NAMES)


def test_a_key_is_readable_by_its_owner_only(identity: Identity, folder: Path, new: Pems) -> None:
    identity.write(*new)
    assert stat.S_IMODE((folder / "tls.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_writing_again_replaces_the_set_and_removes_the_old_one(
    identity: Identity, folder: Path, old: Pems, new: Pems
) -> None:
    identity.write(*old)
    identity.write(*new)
    assert _visible(folder) == new
    assert len(_generations(folder)) == 1


def test_an_identity_shown_does_not_show_its_key(identity: Identity, new: Pems) -> None:
    identity.write(*new)
    assert "PRIVATE KEY" not in repr(identity.load())
    assert str(RUNTIME) in str(identity.load().spiffe_id)


@pytest.mark.parametrize("prepare", ["absent", "empty"])
def test_a_folder_without_an_identity_is_told_as_missing(prepare: str, identity: Identity, folder: Path) -> None:
    if prepare == "empty":
        folder.mkdir()
    assert _refusal(identity.load) is IdentityReason.MISSING


@pytest.mark.parametrize("name", NAMES)
def test_a_set_that_lacks_a_file_is_told_as_missing(name: str, identity: Identity, folder: Path, new: Pems) -> None:
    identity.write(*new)
    (folder / name).resolve().unlink()
    with pytest.raises(IdentityRefused, match=name) as refusal:
        identity.load()
    assert refusal.value.reason is IdentityReason.MISSING


def test_a_plain_folder_is_read_as_well(identity: Identity, folder: Path, new: Pems) -> None:
    _write_plain(folder, new)
    assert identity.load().key_pem == new.key


def test_links_to_elsewhere_are_replaced_and_what_they_lead_to_is_not(
    identity: Identity, folder: Path, tmp_path: Path, old: Pems, new: Pems
) -> None:
    _write_plain(tmp_path / "elsewhere", old)
    folder.mkdir()
    for name in NAMES:
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    assert _loaded(identity) == old
    identity.write(*new)
    assert _visible(folder) == _loaded(identity) == new
    assert _visible(tmp_path / "elsewhere") == old


def test_each_written_set_has_a_name_of_its_own(identity: Identity, folder: Path, old: Pems, new: Pems) -> None:
    _write_plain(folder, old)
    names = [identity.generation(), identity.generation()]
    assert names[0] == names[1]
    for pems in (old, new, new):
        identity.write(*pems)
        names.append(identity.generation())
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda good, other: good._replace(key=other.key), IdentityReason.KEY_MISMATCH),
        (lambda good, other: good._replace(chain=other.chain), IdentityReason.KEY_MISMATCH),
        (lambda good, other: good._replace(key=b"garbage"), IdentityReason.KEY_REFUSED),
        (lambda good, other: good._replace(key=good.chain), IdentityReason.KEY_REFUSED),
        (lambda good, other: good._replace(chain=b"garbage"), IdentityReason.MALFORMED),
        (lambda good, other: good._replace(bundle=b""), IdentityReason.MALFORMED),
        (lambda good, other: good._replace(chain=good.bundle), IdentityReason.NOT_AN_SVID),
    ],
)
def test_files_that_make_no_identity_are_neither_loaded_nor_written(
    damage: Callable[[Pems, Pems], Pems],
    reason: IdentityReason,
    identity: Identity,
    folder: Path,
    old: Pems,
    new: Pems,
) -> None:
    damaged = damage(new, old)
    _write_plain(folder, damaged)
    assert _refusal(identity.load) is reason
    shutil.rmtree(folder)
    identity.write(*old)
    assert _refusal(lambda: identity.write(*damaged)) is reason
    assert _visible(folder) == old


def test_an_encrypted_key_makes_no_identity(identity: Identity, folder: Path, issuing: Authority, new: Pems) -> None:
    encrypted = new._replace(key=key_to_pem(new_key(), b"passphrase"))
    assert _refusal(lambda: identity.write(*encrypted)) is IdentityReason.KEY_REFUSED


def test_two_processes_do_not_write_at_once(identity: Identity, folder: Path, old: Pems, new: Pems) -> None:
    identity.write(*old)
    other = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert _refusal(lambda: identity.write(*new)) is IdentityReason.BUSY
    finally:
        os.close(other)
    assert _visible(folder) == old
    identity.write(*new)
    assert _visible(folder) == new


def test_a_reader_never_sees_a_mix_while_another_writes(identity: Identity, old: Pems, new: Pems) -> None:
    identity.write(*old)
    done = threading.Event()

    def write_in_turn() -> None:
        for turn in range(20):
            identity.write(*(new, old)[turn % 2])
        done.set()

    writer = threading.Thread(target=write_in_turn)
    writer.start()
    seen = set()
    while not done.is_set():
        loaded = identity.load()
        seen.add(Pems(loaded.key_pem, loaded.chain_pem, loaded.bundle_pem))
    writer.join(timeout=10)
    assert seen <= {old, new}


def test_a_set_replaced_while_it_is_read_is_read_again(identity: Identity, old: Pems, new: Pems) -> None:
    identity.write(*old)
    waiting = [new]

    def replace_once() -> None:
        if waiting:
            identity.write(*waiting.pop())

    folder = _replaced_while_read(identity.folder, replace_once)
    assert _loaded(Identity(folder)) == new


def test_a_set_replaced_at_each_reading_is_given_up(identity: Identity, old: Pems) -> None:
    identity.write(*old)
    folder = _replaced_while_read(identity.folder, lambda: identity.write(*old))
    assert _refusal(Identity(folder).load) is IdentityReason.UNSTABLE


@pytest.mark.parametrize("before", ["nothing", "links", "plain files"])
def test_a_crash_at_any_step_leaves_the_old_set_or_the_new_one(
    before: str, tmp_path: Path, clock: StoppedClock, old: Pems, new: Pems
) -> None:
    steps = 0
    crashed = True
    outcomes = set()
    while crashed:
        identity = Identity(tmp_path / f"{before} {steps}", clock)
        if before == "links":
            identity.write(*old)
        elif before == "plain files":
            _write_plain(identity.folder, old)
        with _crashing_at(steps) as crash:
            identity.write(*new)
        crashed = crash.happened
        left = _visible(identity.folder)
        assert left in ({new, None} if before == "nothing" else {new, old})
        assert _loaded(identity) == left
        outcomes.add(left)
        steps += 1

        identity.write(*new)
        assert _visible(identity.folder) == new
        assert len(_generations(identity.folder)) == 1
    assert len(outcomes) == 2
    assert left == new


class _Crashing:
    """Lets a number of calls that change the disk pass, and then none."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self.happened = False

    def guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            if self._left == 0:
                self.happened = True
                raise Crash
            self._left -= 1
            return call(*arguments, **options)

        return guarded


CHANGES_THE_DISK = ("open", "write", "fchmod", "fsync", "mkdir", "symlink", "replace", "rename", "unlink", "rmdir")


@contextlib.contextmanager
def _crashing_at(steps: int) -> Iterator[_Crashing]:
    crash = _Crashing(steps)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Crash):
        for name in CHANGES_THE_DISK:
            patch.setattr(os, name, crash.guard(getattr(os, name)))
        yield crash


def _visible(folder: Path) -> Pems | None:
    """What a reader that knows only the three names gets, if it gets all three; None if none of them is there."""
    contents = [(folder / name).read_bytes() for name in NAMES if (folder / name).exists()]
    assert len(contents) in {0, 3}
    return Pems(*contents) if contents else None


def _loaded(identity: Identity) -> Pems | None:
    """What `load` gets; None if it tells that the identity is missing."""
    try:
        loaded = identity.load()
    except IdentityRefused as refusal:
        if refusal.reason is not IdentityReason.MISSING:
            raise
        return None
    return Pems(loaded.key_pem, loaded.chain_pem, loaded.bundle_pem)


def _replaced_while_read(folder: Path, replace: Callable[[], object]) -> Path:
    """The same folder, in which `replace` happens after each file that is read."""

    class ReplacedPath(PosixPath):
        def read_bytes(self) -> bytes:
            content = super().read_bytes()
            replace()
            return content

    return ReplacedPath(folder)


def _write_plain(folder: Path, pems: Pems) -> None:
    folder.mkdir()
    for name, content in zip(NAMES, pems, strict=True):
        (folder / name).write_bytes(content)


def _generations(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _refusal(do: Callable[[], object]) -> IdentityReason:
    with pytest.raises(IdentityRefused) as refusal:
        do()
    return refusal.value.reason


def test_how_much_of_a_life_is_over_does_not_count_the_dating_back(identity: Identity, issuing: Authority) -> None:
    key = new_key()
    spiffe_id = SpiffeId.runtime(TRUST_DOMAIN, UUID)
    issued = issue(issuing, key.public_key(), spiffe_id, timedelta(seconds=30), StoppedClock(NOW))
    identity.write(key_to_pem(key), issued.chain_pem, issuing.chain_pem)
    held = identity.load()
    assert [held.lived(NOW + timedelta(seconds=at)) for at in (0, 20, 30, 60)] == pytest.approx([0, 2 / 3, 1, 2])

"""Identities on disk: a folder with `tls.crt`, `tls.key` and `ca.crt`, as Kubernetes names them.

The three are replaced as a set, in the way Kubernetes updates a mounted Secret: they are symbolic links
through `..data`, itself a link to a folder that holds one set and is never changed; renaming a new `..data`
over the old one swaps all three in one step.

    tls.crt -> ..data/tls.crt      ..data -> ..2030_01_31_23_59_59.k3v9x2qa/
    tls.key -> ..data/tls.key
    ca.crt  -> ..data/ca.crt
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, auto
from pathlib import Path

from cryptography import x509

from certs import files
from certs.authority import CLOCK_SKEW
from certs.check import SvidRefused, check_svid, serial_hex
from certs.clock import Clock, system_clock
from certs.errors import CertsError
from certs.keys import KeyRefused, key_from_pem, public_key_sha256
from certs.spiffe import SpiffeId

CHAIN_FILE = "tls.crt"
KEY_FILE = "tls.key"
BUNDLE_FILE = "ca.crt"


class IdentityReason(StrEnum):
    """Why there is no identity to use, or why one was not written."""

    MISSING = auto()
    MALFORMED = auto()
    KEY_REFUSED = auto()
    KEY_MISMATCH = auto()
    NOT_AN_SVID = auto()
    BUSY = auto()
    UNSTABLE = auto()


class IdentityRefused(CertsError[IdentityReason]):
    """The three files are not there, or do not make one identity."""


@dataclass(frozen=True, slots=True)
class LoadedIdentity:
    """One whole set as it was on disk at one moment. It may have expired: that is for TLS to say."""

    chain_pem: bytes = field(repr=False)
    """The leaf, then its issuing authorities."""
    key_pem: bytes = field(repr=False)
    bundle_pem: bytes = field(repr=False)
    """The trusted roots."""
    spiffe_id: SpiffeId
    serial: str
    """The leaf's, as `certs.check.serial_hex` writes it."""
    not_before: datetime
    not_after: datetime

    def lived(self, at: datetime) -> float:
        """What part of its life is over `at` a time: 0 when it was issued, 1 at its end.

        By how much it is dated back does not count: of a life of seconds it would be most.
        """
        issued = min(self.not_before + CLOCK_SKEW, self.not_after)
        life = self.not_after - issued
        return (at - issued) / life if life else 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity in `folder`. The clock only names the folders inside."""

    folder: Path
    clock: Clock = system_clock

    def load(self) -> LoadedIdentity:
        """Read one set, whole even while another process is writing the next.

        Takes a plain folder with the three files too, as Kubernetes or a person may have made it. Raises
        `IdentityRefused`: MISSING if a file is not there; otherwise for what is wrong with the set.
        """
        return _checked(self.folder, self._read_set())

    def write(self, key_pem: bytes, chain_pem: bytes, bundle_pem: bytes) -> None:
        """Replace all three files in one step; a crash at any point leaves the old set or the new one.

        The folder is made if need be (mode 0700), the key has mode 0600. A set that `load` would refuse is
        refused here. Raises `IdentityRefused` (BUSY while another process writes) and `OSError`.
        """
        new = {CHAIN_FILE: chain_pem, KEY_FILE: key_pem, BUNDLE_FILE: bundle_pem}
        _checked(self.folder, new)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._only_writer():
            self._adopt_plain_files()
            generation = self._write_generation(new)
            self._link_names()
            self._swap(generation)
            self._remove_generations_but(generation)

    def generation(self) -> str:
        """Names the set that is on disk now: another name after each `write`, so that a change is cheap to see.

        A plain folder, which no `write` has touched, keeps one name.
        """
        # Asked for at every call by those who follow a renewal, and so without the detours of a path.
        try:
            return os.readlink(f"{self.folder}/{_DATA}")  # noqa: PTH115 - a Path takes ten times as long
        except OSError:
            return str(self.folder)

    def _read_set(self) -> Mapping[str, bytes]:
        for _ in range(_READ_ATTEMPTS):
            generation = self._generation()
            try:
                return {name: (generation / name).read_bytes() for name in _NAMES}
            except FileNotFoundError as error:
                if self._generation() == generation:
                    raise IdentityRefused(
                        IdentityReason.MISSING,
                        f"{self.folder} holds no identity: {error.filename} is missing",
                    ) from error
        raise IdentityRefused(
            IdentityReason.UNSTABLE, f"{self.folder} was replaced {_READ_ATTEMPTS} times while it was read"
        )

    def _generation(self) -> Path:
        # Resolved once, so that all three files come from the same set.
        try:
            return self.folder / (self.folder / _DATA).readlink()
        except OSError:
            return self.folder

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IdentityRefused(
                IdentityReason.BUSY, f"another process is writing to {self.folder}: try again"
            ) from error

    def _adopt_plain_files(self) -> None:
        # Plain files first become links to the same contents, so that the swap works on them.
        if (self.folder / _DATA).is_symlink():
            return
        plain = {name: (self.folder / name).read_bytes() for name in _NAMES if (self.folder / name).is_file()}
        if plain:
            self._swap(self._write_generation(plain))

    def _write_generation(self, contents: Mapping[str, bytes]) -> Path:
        stamp = self.clock().strftime("%Y_%m_%d_%H_%M_%S")
        generation = Path(tempfile.mkdtemp(prefix=f"..{stamp}.", dir=self.folder))
        for name, content in contents.items():
            files.write_new(generation / name, content, _MODES[name])
        files.sync_folder(generation)
        return generation

    def _link_names(self) -> None:
        # Before the swap: in a new folder these lead nowhere until then, so no one sees one file without the
        # others.
        for name in _NAMES:
            link, target = self.folder / name, f"{_DATA}/{name}"
            if not link.is_symlink() or str(link.readlink()) != target:
                self._replace_link(link, target)
        files.sync_folder(self.folder)

    def _swap(self, generation: Path) -> None:
        self._replace_link(self.folder / _DATA, generation.name)
        files.sync_folder(self.folder)

    def _replace_link(self, link: Path, target: str) -> None:
        temporary = self.folder / _TEMPORARY_LINK
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)

    def _remove_generations_but(self, current: Path) -> None:
        for folder in self.folder.glob(_GENERATIONS):
            if folder != current and folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)


_NAMES = (CHAIN_FILE, KEY_FILE, BUNDLE_FILE)
_MODES = {CHAIN_FILE: files.PUBLIC, KEY_FILE: files.PRIVATE, BUNDLE_FILE: files.PUBLIC}
_DATA = "..data"
_TEMPORARY_LINK = "..link_tmp"
_GENERATIONS = "..[0-9]*"
_READ_ATTEMPTS = 5


def _checked(folder: Path, contents: Mapping[str, bytes]) -> LoadedIdentity:
    leaf = _certificates(folder, CHAIN_FILE, contents)[0]
    _certificates(folder, BUNDLE_FILE, contents)
    try:
        key = key_from_pem(contents[KEY_FILE], source=str(folder / KEY_FILE))
        spiffe_id = check_svid(leaf)
    except KeyRefused as error:
        raise IdentityRefused(IdentityReason.KEY_REFUSED, str(error)) from error
    except SvidRefused as error:
        raise IdentityRefused(IdentityReason.NOT_AN_SVID, f"{folder / CHAIN_FILE}: {error}") from error
    if public_key_sha256(key.public_key()) != public_key_sha256(leaf.public_key()):
        raise IdentityRefused(
            IdentityReason.KEY_MISMATCH,
            f"{folder / KEY_FILE} is not the key of the certificate in {folder / CHAIN_FILE}",
        )
    return LoadedIdentity(
        chain_pem=contents[CHAIN_FILE],
        key_pem=contents[KEY_FILE],
        bundle_pem=contents[BUNDLE_FILE],
        spiffe_id=spiffe_id,
        serial=serial_hex(leaf),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
    )


def _certificates(folder: Path, name: str, contents: Mapping[str, bytes]) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(contents[name])
    except (ValueError, x509.InvalidVersion) as error:
        raise IdentityRefused(IdentityReason.MALFORMED, f"{folder / name} has no certificates in PEM") from error

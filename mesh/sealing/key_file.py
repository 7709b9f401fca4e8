"""The key-encryption key in a file of 32 bytes, and beside it, while it is being replaced, the one before it."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certs.files import PRIVATE, sync_folder, write_new
from mesh.sealing.data_key import KEY_BYTES
from mesh.sealing.key_provider import WrappedKey
from mesh.sealing.refused import SealingReason, SealingRefused

_NONCE_BYTES = 12
_KEY_ID_BYTES = 8


class KeyFile:
    """Wraps with AES-256-GCM under the key in `path`; unwraps under that or the one in `PATH.previous`.

    The files are read at each use, which is rare, so that a file which was replaced counts from then on. The first
    data key to be wrapped makes the file where there is none. Methods raise `SealingRefused` with KEY_FILE for a file
    that is of another length, that others may read or that cannot be read.
    """

    scheme = "file"

    def __init__(self, path: Path, random: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._previous = path.with_name(f"{path.name}.previous")
        self._random = random

    def wrap(self, key: bytes) -> WrappedKey:
        """Wrap a data key under the key in the file."""
        wrapping = self._current()
        provider_key_id = self._id_of(wrapping)
        nonce = self._random(_NONCE_BYTES)
        return WrappedKey(provider_key_id, nonce + AESGCM(wrapping).encrypt(nonce, key, provider_key_id.encode()))

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key. Raises `SealingRefused` (FOREIGN_KEY, TAMPERED) too."""
        nonce, ciphertext = wrapped.wrapped[:_NONCE_BYTES], wrapped.wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(self._known_as(wrapped.provider_key_id)).decrypt(
                nonce, ciphertext, wrapped.provider_key_id.encode()
            )
        except (InvalidTag, ValueError) as error:
            raise SealingRefused(SealingReason.TAMPERED, "a wrapped data key is not what was wrapped") from error

    def _current(self) -> bytes:
        try:
            if not self._path.exists() and not self._previous.exists():
                _create(self._path, self._random(KEY_BYTES))
        except OSError as error:
            raise _unusable(f"the sealing key {self._path} cannot be made: {error.strerror}") from error
        return _read(self._path)

    def _known_as(self, provider_key_id: str) -> bytes:
        key = _read(self._path)
        if self._id_of(key) == provider_key_id:
            return key
        if self._previous.exists():
            previous = _read(self._previous)
            if self._id_of(previous) == provider_key_id:
                return previous
        raise SealingRefused(
            SealingReason.FOREIGN_KEY,
            f"the data key is wrapped under {provider_key_id}, which is neither in {self._path} nor in"
            f" {self._previous}: bring it back from a backup",
        )

    def _id_of(self, key: bytes) -> str:
        return f"{self.scheme}:{hashlib.sha256(key).digest()[:_KEY_ID_BYTES].hex()}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(KEY_BYTES + 1)
    except FileNotFoundError as error:
        raise _unusable(f"there is no sealing key in {path}; bring it back from a backup") from error
    except OSError as error:
        raise _unusable(f"the sealing key {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise _unusable(f"others may use {path}; set its mode to 0600")
    if len(key) != KEY_BYTES:
        raise _unusable(f"{path} is no sealing key; bring it back from a backup")
    return key


def _create(path: Path, key: bytes) -> None:
    """Put `key` at `path` whole or not at all; where another process was first, its key stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    write_new(temporary, key, PRIVATE)
    try:
        os.link(temporary, path)
        sync_folder(path.parent)
    except FileExistsError:
        return
    finally:
        temporary.unlink()


def _unusable(message: str) -> SealingRefused:
    return SealingRefused(SealingReason.KEY_FILE, message)

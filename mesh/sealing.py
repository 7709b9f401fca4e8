"""Secrets at rest: sealed with AES-256-GCM under a key file, each bound to the one that it belongs to.

A sealed secret is: version byte 1, key id (8 bytes), nonce (12 bytes, random), ciphertext, tag (16 bytes). The key id
is the beginning of the key's SHA-256, so that a secret which was sealed under another key is told from one that was
tampered with.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from enum import StrEnum, auto
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certs.files import PRIVATE, sync_folder, write_new

KEY_BYTES = 32
"""Length of a key, and of its file: the raw bytes."""

_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _KEY_ID_BYTES + _NONCE_BYTES


class SealingReason(StrEnum):
    """Why a secret cannot be unsealed, or a key file not be used."""

    KEY_FILE = auto()
    FOREIGN_KEY = auto()
    TAMPERED = auto()


class SealingRefused(Exception):
    """A sealed secret, or the file of the key, is not what it should be. The message holds no part of either."""

    def __init__(self, reason: SealingReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Seal:
    """Seals and unseals under one key. `random(n)` gives n unpredictable bytes."""

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise SealingRefused(SealingReason.KEY_FILE, f"a sealing key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)
        self._random = random
        self._header = _VERSION + hashlib.sha256(key).digest()[:_KEY_ID_BYTES]

    @classmethod
    def open(cls, path: Path, random: Callable[[int], bytes] = os.urandom) -> Self:
        """Use the key in `path`, which is made, for its owner's eyes only, where there is none.

        Raises `SealingRefused` (KEY_FILE) for a file of another length or that others may read, and `OSError`.
        """
        if not path.exists():
            _create(path, random(KEY_BYTES))
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise SealingRefused(SealingReason.KEY_FILE, f"others may use {path}; set its mode to 0600")
            key = file.read(KEY_BYTES + 1)
        if len(key) != KEY_BYTES:
            raise SealingRefused(SealingReason.KEY_FILE, f"{path} is no sealing key; restore it from a backup")
        return cls(key, random)

    def seal(self, secret: bytes, owner: str) -> bytes:
        """Seal `secret` for `owner`, the id without which it cannot be unsealed."""
        nonce = self._random(_NONCE_BYTES)
        return self._header + nonce + self._cipher.encrypt(nonce, secret, self._bound_to(owner))

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """The secret that was sealed for `owner`. Raises `SealingRefused` (FOREIGN_KEY, TAMPERED)."""
        if not sealed.startswith(self._header):
            raise SealingRefused(SealingReason.FOREIGN_KEY, "the secret was sealed under another key")
        nonce, ciphertext = sealed[len(self._header) : _HEADER_BYTES], sealed[_HEADER_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound_to(owner))
        except (InvalidTag, ValueError) as error:
            raise SealingRefused(SealingReason.TAMPERED, "the sealed secret is not what was sealed") from error

    def _bound_to(self, owner: str) -> bytes:
        return self._header + owner.encode()


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

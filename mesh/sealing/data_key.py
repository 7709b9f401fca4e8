"""A data key, and the form of what is sealed under it.

A sealed secret is: version byte 1, key id (8 bytes), nonce (12 bytes, random), ciphertext, tag (16 bytes). The key id
is the beginning of the key's SHA-256, so that a secret which was sealed under another key is told from one that was
tampered with, and a data key that was unwrapped from one that was not.
"""

import hashlib
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.sealing.refused import SealingReason, SealingRefused

KEY_BYTES = 32
"""Length of a key, whether data are sealed or data keys wrapped under it."""

_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES


def header(key_id: str) -> bytes:
    """How everything begins that is sealed under the data key of that id."""
    return _VERSION + bytes.fromhex(key_id)


def key_id_of(sealed: bytes) -> str:
    """The id of the data key that a secret is sealed under; raises `SealingRefused` (TAMPERED) if it names none."""
    if not sealed.startswith(_VERSION) or len(sealed) < _HEADER_BYTES:
        raise SealingRefused(SealingReason.TAMPERED, "this is no sealed secret")
    return sealed[len(_VERSION) : _HEADER_BYTES].hex()


class DataKey:
    """Seals and unseals under one key of `KEY_BYTES`. `random(n)` gives n unpredictable bytes."""

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise SealingRefused(SealingReason.TAMPERED, f"a data key has {KEY_BYTES} bytes")
        self.key_id = hashlib.sha256(key).digest()[:_KEY_ID_BYTES].hex()
        self._header = header(self.key_id)
        self._cipher = AESGCM(key)
        self._random = random

    def seal(self, secret: bytes, owner: str) -> bytes:
        """Seal `secret` for `owner`, the id without which it cannot be unsealed."""
        nonce = self._random(_NONCE_BYTES)
        return self._header + nonce + self._cipher.encrypt(nonce, secret, self._bound_to(owner))

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """The secret that was sealed for `owner`. Raises `SealingRefused` (FOREIGN_KEY, TAMPERED)."""
        if not sealed.startswith(self._header):
            raise SealingRefused(SealingReason.FOREIGN_KEY, "the secret was sealed under another key")
        body = sealed[_HEADER_BYTES:]
        nonce, ciphertext = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound_to(owner))
        except (InvalidTag, ValueError) as error:
            raise SealingRefused(SealingReason.TAMPERED, "the sealed secret is not what was sealed") from error

    def _bound_to(self, owner: str) -> bytes:
        return self._header + owner.encode()

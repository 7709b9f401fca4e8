"""What a service seals with: its data keys, taken from its own database as they are needed."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from moorage.errors.v1.errors_pb2 import Reason

from mesh import telemetry
from mesh.errors import Refusal
from mesh.sealing.data_key import DataKey, key_id_of
from mesh.sealing.key_provider import KeyProvider, WrappedKey
from mesh.sealing.refused import SealingReason, SealingRefused

_MOST_KEYS = 8
"""Data keys that are kept unwrapped; there are rarely more than two."""

_log = telemetry.logger("sealing")


class StoredKey(NamedTuple):
    """A data key as it lies in the database."""

    key_id: str
    wrapping: WrappedKey


class KeyStore(Protocol):
    """The service's queries upon its data keys; `tx` is the transaction of the unit of work."""

    def hold_active(self, tx: Any) -> StoredKey | None:
        """The key to seal under. No other becomes the active one before this transaction has ended."""
        ...

    def find(self, tx: Any, key_id: str) -> StoredKey | None:
        """The key of that id."""
        ...


class Seal:
    """Seals and unseals within a unit of work, on its transaction.

    Which data key is active is read in the transaction that stores the secret, so that once a rotation has made
    another one active, no instance seals under the old one any more, however many there are and whatever they
    remember. Keys that were unwrapped are remembered; one that is met for the first time is unwrapped then.

    Where the key provider fails, it is `Refusal` (DEPENDENCY_UNAVAILABLE): nothing is wrong with the secret.
    """

    def __init__(self, provider: KeyProvider, store: KeyStore, random: Callable[[int], bytes] = os.urandom) -> None:
        """`random(n)` gives n unpredictable bytes."""
        self._provider = provider
        self._store = store
        self._random = random
        self._keys: dict[str, DataKey] = {}

    def seal(self, tx: Any, secret: bytes, owner: str) -> bytes:
        """Seal `secret` for `owner`, the id without which it cannot be unsealed. Store it in the same transaction."""
        return self.active(tx).seal(secret, owner)

    def unseal(self, tx: Any, sealed: bytes, owner: str) -> bytes:
        """The secret that was sealed for `owner`. Raises `SealingRefused` (FOREIGN_KEY, TAMPERED)."""
        key_id = key_id_of(sealed)
        key = self._keys.get(key_id)
        if key is None:
            stored = self._store.find(tx, key_id)
            if stored is None:
                raise SealingRefused(SealingReason.FOREIGN_KEY, f"the database has no data key {key_id}")
            key = self._remembered(stored)
        return key.unseal(sealed, owner)

    def active(self, tx: Any) -> DataKey:
        """The data key that all must be sealed under which is stored in this transaction."""
        stored = self._store.hold_active(tx)
        if stored is None:
            raise SealingRefused(SealingReason.FOREIGN_KEY, "the database has no data key to seal under")
        return self._keys.get(stored.key_id) or self._remembered(stored)

    def _remembered(self, stored: StoredKey) -> DataKey:
        try:
            key = DataKey(unwrapped(stored, self._provider), self._random)
        except SealingRefused as refused:
            _log.error("a data key cannot be unwrapped", key_id=stored.key_id, error=str(refused))
            message = "the service cannot open the keys that it seals secrets under"
            raise Refusal(Reason.REASON_DEPENDENCY_UNAVAILABLE, message) from refused
        if len(self._keys) >= _MOST_KEYS:
            self._keys = {}
        self._keys[key.key_id] = key
        return key


def unwrapped(stored: StoredKey, provider: KeyProvider) -> bytes:
    """The data key itself. Raises what `provider` raises, and `SealingRefused` (TAMPERED) if it is not that key."""
    key = provider.unwrap(stored.wrapping)
    if DataKey(key).key_id != stored.key_id:
        raise SealingRefused(SealingReason.TAMPERED, f"what was unwrapped is not the data key {stored.key_id}")
    return key

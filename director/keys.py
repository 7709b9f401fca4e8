"""The keys of what the Director seals: who wraps them, and the first of them."""

import asyncio
import os
from collections.abc import Callable

from certs.clock import Clock
from director.settings import DirectorSettings
from director.store import Transaction
from director.store import keys as store
from director.times import to_micros
from mesh.database import Database
from mesh.sealing import KEY_BYTES, DataKey, KeyCommand, KeyFile, KeyProvider, KeyProviders, Seal, StoredKey, unwrapped
from mesh.settings import SettingsRefused

Random = Callable[[int], bytes]
"""`random(n)` gives n unpredictable bytes."""


def key_provider(settings: DirectorSettings) -> KeyProvider:
    """Whoever wraps the data keys by the settings; raises `SettingsRefused` where these contradict each other."""
    file = KeyFile(settings.sealing_key)
    if not settings.sealing_key_command:
        if settings.sealing_key_provider == "command":
            raise SettingsRefused("[director] lacks sealing_key_command, which sealing_key_provider says to use")
        return file
    command = KeyCommand(settings.sealing_key_command)
    if settings.sealing_key_provider == "command":
        return KeyProviders(command, file)
    return KeyProviders(file, command)


async def open_seal(database: Database, provider: KeyProvider, clock: Clock, random: Random = os.urandom) -> Seal:
    """What to seal with. A plane that has no data key gets its first, and `provider` must know the one that it has.

    Raises `SealingRefused`, and `Refusal` (DATABASE_UNAVAILABLE).
    """
    active = await database.read(store.active)
    if active is None:
        new = await asyncio.to_thread(new_key, provider, random)
        active = await database.write(make_first, new, to_micros(clock()))
    await asyncio.to_thread(unwrapped, active, provider)
    return Seal(provider, store, random)


def new_key(provider: KeyProvider, random: Random = os.urandom) -> StoredKey:
    """A data key as it is stored: nobody has seen it yet but the provider that wrapped it."""
    key = random(KEY_BYTES)
    return StoredKey(DataKey(key).key_id, provider.wrap(key))


def make_first(tx: Transaction, key: StoredKey, time: int) -> StoredKey:
    """Begin with `key`, at `time` (microseconds since the epoch), unless there is one already; the active one."""
    active = store.hold_active(tx)
    if active is not None:
        return active
    store.make_active(tx, key, time)
    return key

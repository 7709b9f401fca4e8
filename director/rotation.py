"""Rotation: everything that is sealed is sealed anew under a new data key, while any number of instances run.

Nothing is remembered of a rotation but what the database says: while there is a retired data key, one is under way. So
whatever ends it in the middle, the next one goes on with it, and two at once do the same work twice and no harm.

What makes it safe is that a secret is sealed under the key that is active in the transaction which stores it
(`mesh.sealing.Seal`). Nothing appears under a retired key any more, on no instance; a retired key that nothing is
sealed under is of no use to anybody.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from director.keys import Random, new_key
from director.store import Transaction
from director.store import keys as store
from director.store.keys import SEALED_COLUMNS, SealedColumn
from director.times import to_micros
from mesh.backoff import Backoff
from mesh.database import Database
from mesh.errors import Refusal
from mesh.sealing import KeyProvider, Seal, SealingRefused, StoredKey, WrappedKey, unwrapped

BATCH = 100
"""Secrets that one unit of work seals anew: mutations wait for no longer than that takes."""

ATTEMPTS = 8
"""How often a unit of work is tried while the database cannot be used; over half a minute in all."""

P = ParamSpec("P")
T = TypeVar("T")

Tell = Callable[[str], None]
"""Told of progress, a line at a time."""


@dataclass
class Rotation:
    """What a rotation did."""

    data_key: str
    """Id of the data key that everything is sealed under now."""

    resumed: bool
    """Whether it was begun before, and ended in the middle."""

    resealed: dict[str, int] = field(default_factory=lambda: {each.name: 0 for each in SEALED_COLUMNS})
    """How many secrets of each column were sealed anew this time."""

    removed: list[str] = field(default_factory=list)
    """Ids of the data keys that are gone."""

    unreadable: list[str] = field(default_factory=list)
    """Secrets that cannot be unsealed, each by its column and owner. They, and the keys that they name, are left."""


@dataclass
class Rewrapping:
    """What a change of the key-encryption key did."""

    provider_key: str
    """The key-encryption key that every data key is wrapped under now."""

    rewrapped: list[str] = field(default_factory=list)
    """Ids of the data keys."""


async def rotate(
    database: Database,
    provider: KeyProvider,
    clock: Clock,
    tell: Tell,
    *,
    random: Random = os.urandom,
    batch: int = BATCH,
) -> Rotation:
    """Make a new data key, seal everything under it, and remove those before it.

    A rotation that ended in the middle is gone on with instead. Raises `SealingRefused` where `provider` cannot unwrap
    a data key, with nothing done, and `Refusal` (DATABASE_UNAVAILABLE).
    """
    known = await _in_patience(database.read, store.stored)
    await asyncio.to_thread(_check, known, provider)
    new = await asyncio.to_thread(new_key, provider, random)
    data_key = await _in_patience(database.write, _begin, new, to_micros(clock()))
    rotation = Rotation(data_key, resumed=data_key != new.key_id)
    tell(f"{'goes on with' if rotation.resumed else 'made'} data key {rotation.data_key}")
    seal = Seal(provider, store, random)
    for column in SEALED_COLUMNS:
        await _reseal(database, seal, column, batch, rotation, tell)
    rotation.removed = await _in_patience(database.write, store.drop_unused)
    return rotation


async def rewrap(database: Database, provider: KeyProvider, tell: Tell) -> Rewrapping:
    """Wrap every data key under the provider's key of today; what is sealed under them stays as it is.

    Raises `SealingRefused` and `Refusal` (DATABASE_UNAVAILABLE). What was rewrapped until then stays so.
    """
    result = Rewrapping(provider_key="")
    for key in await _in_patience(database.read, store.stored):
        wrapping = await asyncio.to_thread(_wrapped_anew, key, provider)
        result.provider_key = wrapping.provider_key_id
        if await _in_patience(database.write, store.rewrap, key, wrapping):
            tell(f"wrapped data key {key.key_id} under {wrapping.provider_key_id}")
            result.rewrapped.append(key.key_id)
    return result


def _begin(tx: Transaction, new: StoredKey, time: int) -> str:
    """Make `new` the active key, unless a rotation is under way; the id of the active one."""
    active = store.hold_active(tx)
    if active is not None and store.retired(tx):
        return active.key_id
    store.make_active(tx, new, time)
    return new.key_id


async def _reseal(
    database: Database, seal: Seal, column: SealedColumn, batch: int, rotation: Rotation, tell: Tell
) -> None:
    after: tuple[Any, ...] | None = None
    while True:
        done = await _in_patience(database.write, _reseal_batch, seal, column, after, batch)
        rotation.resealed[column.name] += done.resealed
        rotation.unreadable += done.unreadable
        if done.last is None:
            return
        after = done.last
        tell(f"sealed {rotation.resealed[column.name]} of {column.name} anew")


class _Batch(NamedTuple):
    resealed: int
    unreadable: list[str]
    last: tuple[Any, ...] | None


def _reseal_batch(
    tx: Transaction, seal: Seal, column: SealedColumn, after: tuple[Any, ...] | None, most: int
) -> _Batch:
    to = seal.active(tx)
    found = store.sealed_otherwise(tx, column, to.key_id, after, most)
    resealed, unreadable = [], []
    for value in found:
        try:
            secret = seal.unseal(tx, value.sealed, value.owner)
        except SealingRefused as refused:
            unreadable.append(f"{column.name} of {value.owner}: {refused}")
        else:
            resealed.append((value, to.seal(secret, value.owner)))
    store.store_sealed(tx, column, resealed)
    return _Batch(len(resealed), unreadable, found[-1].row if found else None)


def _check(keys: list[StoredKey], provider: KeyProvider) -> None:
    for key in keys:
        unwrapped(key, provider)


def _wrapped_anew(key: StoredKey, provider: KeyProvider) -> WrappedKey:
    return provider.wrap(unwrapped(key, provider))


async def _in_patience(
    run: Callable[..., Any], unit: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The unit's result; while the database cannot be used, as when another process holds its lock, tried again."""
    backoff = Backoff(timedelta(seconds=0.5), timedelta(seconds=8))
    for _ in range(ATTEMPTS - 1):
        try:
            result: T = await run(unit, *args, **kwargs)
            return result
        except Refusal as refusal:
            if refusal.reason != Reason.REASON_DATABASE_UNAVAILABLE:
                raise
            await asyncio.sleep(backoff.next())
    last: T = await run(unit, *args, **kwargs)
    return last

"""Who wraps data keys: whatever has a key-encryption key, which itself never reaches a database."""

from typing import NamedTuple, Protocol

from mesh.sealing.refused import SealingReason, SealingRefused


class WrappedKey(NamedTuple):
    """A data key as it may be stored."""

    provider_key_id: str
    """Which key-encryption key it is wrapped under: the provider's scheme, a colon, and what the provider calls it."""

    wrapped: bytes
    """The data key, encrypted. Its form is the provider's own."""


class KeyProvider(Protocol):
    """Wraps and unwraps data keys. Its methods may take a while, and are called from any thread."""

    @property
    def scheme(self) -> str:
        """How the ids of its keys begin, such as `file`."""
        ...

    def wrap(self, key: bytes) -> WrappedKey:
        """Wrap a data key under the key-encryption key of today; raises `SealingRefused`."""
        ...

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Unwrap what it wrapped, today or before; raises `SealingRefused`."""
        ...


class KeyProviders:
    """Several providers as one, so that a plane can go from one to another: `first` wraps, each unwraps its own."""

    def __init__(self, first: KeyProvider, *others: KeyProvider) -> None:
        self._first = first
        self._by_scheme = {provider.scheme: provider for provider in (*others, first)}

    @property
    def scheme(self) -> str:
        """That of the one which wraps."""
        return self._first.scheme

    def wrap(self, key: bytes) -> WrappedKey:
        """Wrap a data key; raises `SealingRefused`."""
        return self._first.wrap(key)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Unwrap what one of them wrapped; raises `SealingRefused`."""
        scheme = wrapped.provider_key_id.partition(":")[0]
        if scheme not in self._by_scheme:
            known = ", ".join(sorted(self._by_scheme))
            raise SealingRefused(
                SealingReason.FOREIGN_KEY,
                f"a data key is wrapped by a provider of the kind {scheme!r}, and the settings have only: {known}",
            )
        return self._by_scheme[scheme].unwrap(wrapped)

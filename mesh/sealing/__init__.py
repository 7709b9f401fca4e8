"""Secrets at rest: sealed under data keys, which lie beside them wrapped under a key that the database never sees.

- A *secret* is sealed with AES-256-GCM under a data key, for the owner that it belongs to (`Seal`).
- A *data key* lies beside the secrets in the service's own database, wrapped. Each sealed secret names its data key.
- The *key-encryption key* that wraps data keys is a key provider's: of a file (`KeyFile`), or of whatever an
  operator's program speaks to (`KeyCommand`).
"""

from mesh.sealing.data_key import KEY_BYTES, DataKey, header
from mesh.sealing.key_command import KeyCommand
from mesh.sealing.key_file import KeyFile
from mesh.sealing.key_provider import KeyProvider, KeyProviders, WrappedKey
from mesh.sealing.refused import SealingReason, SealingRefused
from mesh.sealing.seal import KeyStore, Seal, StoredKey, unwrapped

__all__ = [
    "KEY_BYTES",
    "DataKey",
    "KeyCommand",
    "KeyFile",
    "KeyProvider",
    "KeyProviders",
    "KeyStore",
    "Seal",
    "SealingReason",
    "SealingRefused",
    "StoredKey",
    "WrappedKey",
    "header",
    "unwrapped",
]

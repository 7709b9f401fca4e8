"""The content hash: how the Director and an agent prove to each other that they hold the same configuration."""

import hashlib
from collections.abc import Mapping

from moorage.director.v1.configuration_pb2 import ApplicationConfiguration


def canonical(application: ApplicationConfiguration) -> bytes:
    """The serialisation that is hashed, and that the stream carries."""
    return application.SerializeToString(deterministic=True)


def application_sha256(application: ApplicationConfiguration) -> bytes:
    """SHA-256 of one Application's canonical serialisation, 32 bytes."""
    return hashlib.sha256(canonical(application)).digest()


def content_sha256(digests: Mapping[str, bytes]) -> str:
    """The content hash of a whole configuration, lowercase hexadecimal.

    `digests` has the `application_sha256` of each Application by its `application_id`; their order does not count.
    An empty configuration has the SHA-256 of nothing.
    """
    return hashlib.sha256(b"".join(digests[key] for key in sorted(digests))).hexdigest()

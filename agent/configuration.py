"""A Runtime's whole configuration at one revision, as an immutable value."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from moorage.director.v1.configuration_pb2 import ApplicationConfiguration

from mesh.configuration import application_sha256, content_sha256


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the Runtime is to run at `revision` of the plane `plane_id`.

    Two with the same `content_sha256` and `credentials_revision` are the same to the Runtime, whatever their revisions.
    """

    plane_id: str
    revision: int
    """The last revision that is accounted for: where to resume from."""
    changed_at: int
    """The revision that last brought content, or word of credentials; at most `revision`: bookmarks bring none."""
    applications: Mapping[str, ApplicationConfiguration] = field(repr=False)
    """By `application_id`."""
    digests: Mapping[str, bytes] = field(repr=False)
    """SHA-256 of each application's deterministic serialisation, 32 bytes, by `application_id`."""
    content_sha256: str
    """The hash that the stream carries, lowercase hexadecimal."""
    credentials_revision: int = 0
    """The revision that last changed a credential for this Runtime alone; 0 where none did."""

    @classmethod
    def snapshot(cls, plane_id: str, revision: int, applications: Iterable[ApplicationConfiguration]) -> Self:
        """The configuration that consists of `applications` and nothing else."""
        return cls._of(plane_id, revision, {each.application_id: each for each in applications}, {})

    def changed(self, revision: int, applications: Iterable[ApplicationConfiguration], removed: Iterable[str]) -> Self:
        """The configuration at `revision`, once those `removed` are gone and `applications` are in."""
        gone = set(removed)
        new = {each.application_id: each for each in applications}
        kept = {key: each for key, each in self.applications.items() if key not in gone and key not in new}
        changed = self._of(self.plane_id, revision, kept | new, {key: self.digests[key] for key in kept})
        return replace(changed, credentials_revision=self.credentials_revision)

    def moved(self, revision: int) -> Self:
        """The same content, accounted for up to `revision`."""
        return replace(self, revision=revision)

    def with_credentials(self, changed: int) -> Self:
        """The same content, with credentials that the revision `changed` last changed."""
        return replace(self, credentials_revision=changed, changed_at=self.revision)

    @classmethod
    def _of(
        cls,
        plane_id: str,
        revision: int,
        applications: dict[str, ApplicationConfiguration],
        known: dict[str, bytes],
    ) -> Self:
        digests = {key: known.get(key) or application_sha256(each) for key, each in applications.items()}
        return cls(
            plane_id=plane_id,
            revision=revision,
            changed_at=revision,
            applications=MappingProxyType(applications),
            digests=MappingProxyType(digests),
            content_sha256=content_sha256(digests),
        )


def is_application_id(text: str) -> bool:
    """Whether `text` is a UUID in canonical form, so that it can name a file."""
    return _UUID.fullmatch(text) is not None


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

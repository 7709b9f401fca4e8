"""Configurations in few words, and the messages that stream them."""

import uuid
from collections.abc import Mapping, Sequence

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ApiConfiguration,
    ApplicationConfiguration,
    ConfigurationKind,
    WatchConfigurationResponse,
)

from agent.configuration import Configuration

PLANE = "7f6c1a52-0b1f-4a4e-8f8e-3f2d1c0b9a88"
OTHER_PLANE = "11111111-2222-4333-8444-555555555555"

Shape = Mapping[int, int]
"""A configuration in short: the versions of its applications by their numbers."""


def application(number: int, version: int = 1) -> ApplicationConfiguration:
    """Application `number`, as it was in its `version`th shape."""
    application_id = application_id_of(number)
    api = ApiConfiguration(
        api_id=str(uuid.uuid5(uuid.UUID(application_id), "api")), name="orders", target_url=f"https://{version}.test"
    )
    return ApplicationConfiguration(application_id=application_id, name=f"application-{number}", apis=[api])


def application_id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


def configuration(revision: int, *applications: ApplicationConfiguration, plane: str = PLANE) -> Configuration:
    return Configuration.snapshot(plane, revision, applications)


def whole(shape: Shape, revision: int, plane: str = PLANE) -> Configuration:
    return configuration(revision, *(application(*each) for each in shape.items()), plane=plane)


def messages(
    kind: ConfigurationKind.ValueType,
    revision: int,
    content_sha256: str,
    applications: Sequence[ApplicationConfiguration] = (),
    removed: Sequence[str] = (),
    chunk: int = 1000,
    plane: str = PLANE,
) -> list[WatchConfigurationResponse]:
    """What a Director sends of one revision, `chunk` applications and removals a message."""
    count = max(1, -(-max(len(applications), len(removed)) // chunk))
    parts = [
        WatchConfigurationResponse(
            plane_id=plane,
            revision=revision,
            kind=kind,
            applications=applications[start * chunk : (start + 1) * chunk],
            removed_application_ids=removed[start * chunk : (start + 1) * chunk],
            partial=True,
        )
        for start in range(count)
    ]
    parts[-1].partial = False
    parts[-1].content_sha256 = content_sha256
    return parts


def snapshot(shape: Shape, revision: int, chunk: int = 1000, plane: str = PLANE) -> list[WatchConfigurationResponse]:
    applications = [application(*each) for each in shape.items()]
    sha256 = whole(shape, revision).content_sha256
    return messages(CONFIGURATION_KIND_SNAPSHOT, revision, sha256, applications, chunk=chunk, plane=plane)


def delta(before: Shape, after: Shape, revision: int, chunk: int = 1000) -> list[WatchConfigurationResponse]:
    changed = [application(*each) for each in after.items() if before.get(each[0]) != each[1]]
    removed = [application_id_of(number) for number in before if number not in after]
    sha256 = whole(after, revision).content_sha256
    return messages(CONFIGURATION_KIND_DELTA, revision, sha256, changed, removed, chunk)


def bookmark(revision: int, content_sha256: str = "", plane: str = PLANE) -> WatchConfigurationResponse:
    return messages(CONFIGURATION_KIND_BOOKMARK, revision, content_sha256, plane=plane)[0]

"""Configurations in few words."""

import uuid

from moorage.director.v1.configuration_pb2 import ApiConfiguration, ApplicationConfiguration

from agent.configuration import Configuration

PLANE = "7f6c1a52-0b1f-4a4e-8f8e-3f2d1c0b9a88"
OTHER_PLANE = "11111111-2222-4333-8444-555555555555"


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

"""The Connector's settings."""

from datetime import timedelta
from pathlib import Path

import pytest

from certs.spiffe import Kind
from connector.settings import ConnectorSettings
from mesh.settings import load_settings

REQUIRED = {
    "MOORAGE_CONNECTOR_IDENTITY": "/identity",
    "MOORAGE_CONNECTOR_ISSUING_AUTHORITY": "/issuing",
    "MOORAGE_CONNECTOR_DATABASE": "sqlite:////connector.sqlite",
}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_party_has_a_lifetime_of_its_own(kind: Kind) -> None:
    settings = load({f"MOORAGE_CONNECTOR_{kind}_LIFETIME".upper(): "90.5"})

    assert settings.lifetime(kind) == timedelta(seconds=90.5)
    assert all(settings.lifetime(other) >= timedelta(days=1) for other in Kind if other is not kind)


def test_a_runtime_is_certified_for_a_day_and_an_application_for_thirty() -> None:
    assert load({}).lifetime(Kind.RUNTIME) == timedelta(days=1)
    assert load({}).lifetime(Kind.APPLICATION) == timedelta(days=30)


def test_the_passphrase_comes_by_file_path_only() -> None:
    assert load({}).passphrase_file is None
    assert load({"MOORAGE_CONNECTOR_PASSPHRASE_FILE": "/passphrase"}).passphrase_file == Path("/passphrase")


def load(environ: dict[str, str]) -> ConnectorSettings:
    return load_settings(ConnectorSettings, "connector", environ={**REQUIRED, **environ})

"""What the settings of the services and the agent refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.settings import AgentSettings
from connector.settings import ConnectorSettings
from director.settings import DirectorSettings
from mesh.settings import SettingsRefused, load_settings
from provisioner.settings import ProvisionerSettings

ADDRESSES: tuple[tuple[type[Any], str, str], ...] = (
    (AgentSettings, "agent", "director"),
    (AgentSettings, "agent", "connector"),
    (ConnectorSettings, "connector", "director_address"),
    (ConnectorSettings, "connector", "connector_address"),
    (ConnectorSettings, "connector", "provisioner_address"),
    (DirectorSettings, "director", "connector_address"),
    (ProvisionerSettings, "provisioner", "director_address"),
    (ProvisionerSettings, "provisioner", "connector_address"),
)
REQUIRED = {
    "agent": ("home",),
    "connector": ("identity", "issuing_authority", "database"),
    "director": ("identity", "database", "dbos_database", "sealing_key"),
    "provisioner": ("identity", "database", "dbos_database", "runtimes"),
}


@pytest.mark.parametrize(("shape", "section", "name"), ADDRESSES)
def test_an_address_may_be_a_list_and_one_that_cannot_be_read_is_refused_by_its_name(
    shape: type[Any], section: str, name: str, tmp_path: Path
) -> None:
    assert getattr(loaded(shape, section, name, "10.0.0.1:1,10.0.0.2:1", tmp_path), name) == "10.0.0.1:1,10.0.0.2:1"
    with pytest.raises(SettingsRefused, match=rf"\[{section}\]: {name}: 'a:1' of .* is no IP:port"):
        loaded(shape, section, name, "a:1,b:1", tmp_path)


def test_a_director_at_which_no_stream_could_begin_is_refused(tmp_path: Path) -> None:
    assert loaded(DirectorSettings, "director", "streams_waiting", 1, tmp_path).streams_waiting == 1
    with pytest.raises(SettingsRefused, match=r"\[director\]: streams_waiting: must be 1 or more"):
        loaded(DirectorSettings, "director", "streams_waiting", 0, tmp_path)


def loaded(shape: type[Any], section: str, name: str, value: str | int, folder: Path) -> Any:
    lines = [f'{each} = "/srv/{each}"' for each in REQUIRED[section]]
    (folder / "moorage.toml").write_text("\n".join([f"[{section}]", *lines, f"{name} = {json.dumps(value)}"]))
    return load_settings(shape, section, folder / "moorage.toml", {})

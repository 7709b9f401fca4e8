"""Settings from a file and from variables."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mesh.settings import SettingsRefused, load_settings


@dataclass(frozen=True)
class Shape:
    home: Path
    listen: str = "127.0.0.1:7443"
    interval: float = 1.5
    enabled: bool = False
    words: tuple[str, ...] = ()
    limit: int | None = None


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "moorage.toml"
    file.write_text(text)
    return file


def test_a_variable_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    file = toml(tmp_path, '[agent]\nhome = "/srv"\nlisten = "file:1"\ninterval = 2\n')
    settings = load_settings(Shape, "agent", file, {"MOORAGE_AGENT_LISTEN": "variable:1"})
    assert settings == Shape(home=Path("/srv"), listen="variable:1", interval=2.0)


def test_variables_are_read_as_the_type_of_their_field() -> None:
    environ = {
        "MOORAGE_AGENT_HOME": "/srv",
        "MOORAGE_AGENT_INTERVAL": "0.25",
        "MOORAGE_AGENT_ENABLED": "true",
        "MOORAGE_AGENT_WORDS": "one,two",
        "MOORAGE_AGENT_LIMIT": "7",
    }
    settings = load_settings(Shape, "agent", None, environ)
    assert settings == Shape(Path("/srv"), interval=0.25, enabled=True, words=("one", "two"), limit=7)


def test_a_field_that_is_missing_is_named_with_its_variable() -> None:
    with pytest.raises(SettingsRefused, match="MOORAGE_AGENT_HOME"):
        load_settings(Shape, "agent", None, {})


def test_a_value_of_the_wrong_type_is_refused_with_its_name() -> None:
    with pytest.raises(SettingsRefused, match="interval"):
        load_settings(Shape, "agent", None, {"MOORAGE_AGENT_HOME": "/srv", "MOORAGE_AGENT_INTERVAL": "soon"})


def test_a_name_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="intervall"):
        load_settings(Shape, "agent", toml(tmp_path, '[agent]\nhome = "/srv"\nintervall = 2\n'))


def test_the_sections_of_others_are_passed_over(tmp_path: Path) -> None:
    file = toml(tmp_path, '[director]\nwhatever = 1\n[agent]\nhome = "/srv"\n')
    assert load_settings(Shape, "agent", file).home == Path("/srv")


@pytest.mark.parametrize("text", ["[agent", "agent = 1", "[agent]\nhome = 3"])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsRefused):
        load_settings(Shape, "agent", toml(tmp_path, text))


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"nothing\.toml"):
        load_settings(Shape, "agent", tmp_path / "nothing.toml")

"""`moorage.toml`: written so that the services read back what was meant."""

import stat
import tempfile
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.plane.home import Home
from cli.plane.ports import Ports
from cli.plane.settings_file import (
    Value,
    merged,
    ports_in,
    read_overrides,
    settings_of,
    variables_of_directors,
    write_settings,
)
from mesh.exits import Exit, Stopped

LOOPBACK = ip_address("127.0.0.1")
POSTGRESQL = {"database": "postgresql:///director", "dbos_database": "postgresql:///director_dbos"}
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
)


@given(st.dictionaries(st.text(min_size=1, alphabet="ab é-_."), st.dictionaries(st.text(min_size=1), VALUES)))
def test_any_settings_are_read_back_as_they_were_written(sections: dict[str, dict[str, Value]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_settings(Path(folder) / "moorage.toml", sections)
        assert tomllib.loads((Path(folder) / "moorage.toml").read_text()) == sections


def test_the_settings_are_for_their_user_alone(tmp_path: Path) -> None:
    write_settings(tmp_path / "moorage.toml", {})
    assert stat.S_IMODE((tmp_path / "moorage.toml").stat().st_mode) == 0o600


def test_the_ports_of_an_earlier_start_are_found_again(tmp_path: Path) -> None:
    ports = Ports(7443, 7444, 7445, 7446)
    write_settings(tmp_path / "moorage.toml", settings_of(Home(tmp_path), ip_address("::1"), ports, None))
    assert ports_in(tmp_path / "moorage.toml") == ports


def test_the_ports_of_several_directors_are_found_again_and_everybody_is_told_of_all(tmp_path: Path) -> None:
    ports = Ports(7443, 7444, 7445, 7446, (7447, 7448))
    settings = settings_of(Home(tmp_path), LOOPBACK, ports, None)
    write_settings(tmp_path / "moorage.toml", settings)
    assert ports_in(tmp_path / "moorage.toml") == ports
    for section in ("connector", "provisioner"):
        assert settings[section]["director_address"] == "127.0.0.1:7443,127.0.0.1:7447,127.0.0.1:7448"
    assert settings["director"]["listen"] == "127.0.0.1:7443"


def test_a_further_director_has_its_own_of_what_cannot_be_shared(tmp_path: Path) -> None:
    shared = {**POSTGRESQL, "metrics_listen": "127.0.0.1:9100"}
    assert variables(tmp_path, Ports.following(7443, 3), shared) == {
        f"director-{number}": {
            "MOORAGE_DIRECTOR_LISTEN": f"127.0.0.1:{7445 + number}",
            "MOORAGE_DIRECTOR_INSTANCE_ID": f"director-{number}",
            "MOORAGE_DIRECTOR_IDENTITY": str(tmp_path / "identities" / f"director-{number}"),
            "MOORAGE_DIRECTOR_REVOCATIONS_CACHE": str(tmp_path / "director" / f"revocations-{number}"),
            "MOORAGE_DIRECTOR_METRICS_LISTEN": f"127.0.0.1:{9099 + number}",
        }
        for number in (2, 3)
    }


def test_further_directors_give_metrics_nowhere_where_the_first_one_does_not(tmp_path: Path) -> None:
    of_it = variables(tmp_path, Ports.following(7443, 2), POSTGRESQL)["director-2"]
    assert of_it["MOORAGE_DIRECTOR_METRICS_LISTEN"] == ""


def test_one_director_needs_no_postgresql_and_several_do(tmp_path: Path) -> None:
    assert variables(tmp_path, Ports.following(7443), {}) == {}
    for key in POSTGRESQL:
        with pytest.raises(Stopped, match=f"{key} of .* names none") as refused:
            variables(tmp_path, Ports.following(7443, 2), {**POSTGRESQL, key: "sqlite:///there"})
        assert refused.value.code is Exit.USAGE


def test_the_databases_that_several_directors_share_may_be_named_by_variables(tmp_path: Path) -> None:
    environ = {f"MOORAGE_DIRECTOR_{key.upper()}": url for key, url in POSTGRESQL.items()}
    assert variables(tmp_path, Ports.following(7443, 2), {}, environ).keys() == {"director-2"}


def variables(
    home: Path, ports: Ports, overrides: Mapping[str, Value], environ: Mapping[str, str] | None = None
) -> Mapping[str, Mapping[str, str]]:
    settings = merged(settings_of(Home(home), LOOPBACK, ports, None), {"director": overrides})
    return variables_of_directors(Home(home), LOOPBACK, ports, settings, environ or {})


@pytest.mark.parametrize("content", ["", "not TOML", "[director]\nlisten = 'nowhere'\n", "director = 1\n"])
def test_a_settings_file_without_ports_gives_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "moorage.toml").write_text(content)
    assert ports_in(tmp_path / "moorage.toml") is None
    assert ports_in(tmp_path / "missing.toml") is None


def test_an_override_replaces_one_key_and_leaves_the_others() -> None:
    settings = {"director": {"listen": "a", "database": "b"}}
    assert merged(settings, {"director": {"listen": "c"}, "agent": {"hook": "d"}}) == {
        "director": {"listen": "c", "database": "b"},
        "agent": {"hook": "d"},
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("= nonsense", "is not TOML"),
        ("listen = 'a'", "listen stands outside of any section"),
        ("[director]\nlisten = 2030-01-01", r"\[director\] listen is of no kind that a setting can be"),
    ],
)
def test_overrides_that_cannot_be_used_are_refused(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(Stopped, match=says) as refused:
        read_overrides(tmp_path / "mine.toml")
    assert refused.value.code is Exit.USAGE


def test_an_overrides_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="cannot be read"):
        read_overrides(tmp_path / "mine.toml")

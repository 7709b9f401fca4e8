"""What examples/ shows is what there is."""

import configparser
import re
import runpy
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from cryptography import x509

from agent.settings import AgentSettings
from certs.identity import Identity
from certs.spiffe import SpiffeId
from cli.__main__ import moorage
from connector.settings import ConnectorSettings
from director.settings import DirectorSettings
from mesh.settings import load_settings
from provisioner.settings import ProvisionerSettings
from tests.support.identities import TRUST_DOMAIN, Mint

EXAMPLES = Path(__file__).parents[2] / "examples"
FULL = EXAMPLES / "moorage_full.toml"
SHORT = EXAMPLES / "moorage.toml"
SECTIONS: Mapping[str, type[Any]] = {
    "director": DirectorSettings,
    "connector": ConnectorSettings,
    "provisioner": ProvisionerSettings,
    "agent": AgentSettings,
}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("file", [SHORT, FULL], ids=lambda file: file.name)
def test_the_example_settings_can_be_used_as_they_are(file: Path, section: str) -> None:
    assert isinstance(load_settings(SECTIONS[section], section, file), SECTIONS[section])


@pytest.mark.parametrize("section", SECTIONS)
def test_the_full_settings_have_every_option_and_no_other(section: str) -> None:
    assert list(_switched_on()[section]) == [each.name for each in fields(SECTIONS[section])]


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_switched_off_in_the_full_settings_is_the_default(section: str, tmp_path: Path) -> None:
    file = tmp_path / "switched_on.toml"
    file.write_text(_with_everything_on())
    settings = load_settings(SECTIONS[section], section, file)
    for each in fields(SECTIONS[section]):
        if each.default not in (MISSING, None):
            assert getattr(settings, each.name) == each.default, each.name


@pytest.mark.parametrize("section", SECTIONS)
def test_only_what_must_be_set_is_switched_on_in_the_full_settings(section: str) -> None:
    required = [each.name for each in fields(SECTIONS[section]) if each.default is MISSING]
    assert list(tomllib.loads(FULL.read_text())[section]) == required


def test_every_option_of_the_full_settings_has_a_comment() -> None:
    uncommented = re.findall(r"^(?!# ).*\n#?(\w+) = ", FULL.read_text(), re.MULTILINE)
    assert uncommented == []


@pytest.mark.parametrize("section", SECTIONS)
def test_a_unit_runs_a_command_that_there_is_as_the_user_who_owns_its_state(section: str) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]  # what configparser's own page does to keep capitals
    unit.read(EXAMPLES / "systemd" / f"moorage-{section}.service")
    program, service, verb, option, _ = unit["Service"]["ExecStart"].split()
    command = moorage.get_command(click.Context(moorage), service)
    assert isinstance(command, click.Group)
    assert (Path(program).name, service, option) == ("moorage", section, "--config")
    assert verb in command.commands
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["User"] == f"moorage-{section}"
    assert f"/var/lib/{unit['Service']['StateDirectory']}" in str(_switched_on()[section])


@pytest.mark.parametrize("passphrase", [None, b"low tide"])
def test_an_identity_can_be_signed_without_a_connector(passphrase: bytes | None, tmp_path: Path) -> None:
    mint = Mint(tmp_path / "mint")
    mint.issuing.save(tmp_path / "issuing", passphrase)
    asked = ["--path", "/service/director", "--dns", "director.example", "--ip", "127.0.0.1", "--days", "3"]
    if passphrase:
        (tmp_path / "passphrase").write_bytes(passphrase + b"\n")
        asked += ["--passphrase-file", str(tmp_path / "passphrase")]

    main = runpy.run_path(str(EXAMPLES / "issue_identity.py"))["main"]
    main(["--authority", str(tmp_path / "issuing"), "--out", str(tmp_path / "identity"), *asked])

    identity = Identity(tmp_path / "identity").load()
    leaf = x509.load_pem_x509_certificates(identity.chain_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert identity.spiffe_id == SpiffeId.service(TRUST_DOMAIN, "director")
    assert names.get_values_for_type(x509.DNSName) == ["director.example"]
    assert timedelta(days=3) <= identity.not_after - identity.not_before < timedelta(days=3, minutes=5)
    assert identity.bundle_pem == mint.root.chain_pem


def _with_everything_on() -> str:
    return re.sub(r"^#(?=\w+ = )", "", FULL.read_text(), flags=re.MULTILINE)


def _switched_on() -> Mapping[str, Mapping[str, object]]:
    return tomllib.loads(_with_everything_on())

"""What docs/trust.md tells a reader to type does what the page says of it, as it stands and in its order."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from mesh.exits import Exit
from tests.support.command import Ended
from tests.support.plane import Up
from tests.support.transcript import Answered, run_all, shell_blocks
from tests.support.wait import wait_for

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "trust.md"

pytestmark = pytest.mark.timeout(240)

FENCES = re.compile(r"^ *```(\w*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trust") / "home"


@pytest.fixture(scope="module")
def typed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Answered]:
    """Every command of the page, and what it wrote, on a plane that runs no longer."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "examples").symlink_to(ROOT / "examples")
    environ = {**os.environ, "MOORAGE_HOME": str(home), "MOORAGE_CONFIG": str(folder / "contexts")}
    environ.pop("MOORAGE_TOKEN", None)
    with Up(home):
        return run_all(shell_blocks(PAGE), environ=environ, folder=folder, timeout=200)


def test_every_command_of_the_page_is_typed() -> None:
    fences = FENCES.findall(PAGE.read_text())
    assert set(fences[::2]) == {"sh", "toml"}
    assert set(fences[1::2]) == {""}


def test_who_has_what_is_listed(typed: Sequence[Answered]) -> None:
    listed = output(typed, "moorage identity list")
    assert all(f"moorage.internal/{each}" in listed for each in ("admin/admin", "viewer/vera", "application/"))
    assert "spiffe://moorage.internal/viewer/vera" in output(typed, "moorage certificate get -o yaml")


def test_a_token_that_was_revoked_is_listed_as_such(typed: Sequence[Answered]) -> None:
    assert re.search(r"REVOKED +spiffe://moorage.internal/viewer/nils", output(typed, "moorage token list --state rev"))


def test_an_evicted_application_is_refused_and_comes_back_with_a_new_key(typed: Sequence[Answered]) -> None:
    assert "[CERTIFICATE_REVOKED]" in output(typed, "! moorage api list --application payments --identity payments")
    states = re.findall(r"^\w+ +(\w+) ", output(typed, "moorage certificate list --of application/payments"), re.M)
    assert sorted(states) == ["ACTIVE", "REVOKED", "STATE"]


def test_a_certificate_that_was_revoked_by_its_serial_number_is_refused(typed: Sequence[Answered]) -> None:
    assert "[CERTIFICATE_REVOKED]" in output(typed, "! moorage application list --identity ada")


def test_whoever_is_banned_is_refused_and_gets_no_token_until_restored(typed: Sequence[Answered]) -> None:
    assert "[CERTIFICATE_REVOKED]" in output(typed, "! moorage application list --context vera")
    assert "[IDENTITY_BANNED]" in output(typed, "! moorage token issue --viewer vera")
    assert "viewer/vera" in output(typed, "moorage identity list --state banned")
    [_, restored] = [each.output for each in typed if each.command == "moorage application list --context vera"]
    assert "payments" in restored


def test_outsiders_can_tell_by_the_revocation_list_who_was_revoked(typed: Sequence[Answered]) -> None:
    assert "Affiliation Changed" in output(typed, "openssl crl -in revoked.pem -noout -text")
    assert "payments/tls.crt: OK" in output(typed, "openssl verify")
    assert "certificate revoked" in output(typed, "! openssl verify")


def test_an_administrator_is_made_without_asking_one_and_the_rescuer_is_gone_afterwards(
    typed: Sequence[Answered],
) -> None:
    assert "spiffe://moorage.internal/admin/ada" in output(typed, "moorage login --token-file ada.token")
    assert "[CERTIFICATE_REVOKED]" in output(typed, "! moorage identity list --identity rescue")


def test_with_another_issuing_authority_the_plane_goes_on_and_what_the_old_one_signed_is_refused(
    typed: Sequence[Answered], home: Path, tmp_path: Path
) -> None:
    retired = output(typed, "openssl x509").strip()
    settings = tmp_path / "retired.toml"
    settings.write_text(toml_block().replace("SHA-256 of the old one", retired))
    stolen = tmp_path / "stolen"
    shutil.copytree(home / "identities" / "admin", stolen, symlinks=True)
    root = (home / "connector" / "authority" / "root" / "ca.crt").read_bytes()

    (home / "connector" / "authority" / "issuing").rename(tmp_path / "old")
    with Up(home, "--config", str(settings)) as up:

        def answer() -> Ended | None:
            done = up.moorage("application", "list")
            return done if done.returncode == Exit.OK else None

        # A Director that starts with the list that it kept has to hear of the new authority first.
        listed = wait_for("the administrator is answered", answer)
        refused = up.moorage("application", "list", "--identity", str(stolen))
        asked = up.moorage("token", "issue", "--application", "payments")
        paired = up.moorage("pair", "-", "--out", str(tmp_path / "payments"), stdin=asked.stdout)

    assert "payments" in listed.stdout
    assert "[AUTHORITY_REVOKED]" in refused.stderr
    assert paired.returncode == Exit.OK, paired.stderr
    assert (home / "connector" / "authority" / "root" / "ca.crt").read_bytes() == root


def output(typed: Sequence[Answered], starts: str) -> str:
    """What the first command that starts so wrote."""
    return next(each.output for each in typed if each.command.startswith(starts))


def toml_block() -> str:
    [settings] = re.findall(r"^ *```toml\n(.*?)^ *```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(settings)

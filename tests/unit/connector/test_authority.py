"""Loading the issuing authority, and saying what is wrong with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from certs.authority import Authority, AuthorityRefused
from connector.authority import AuthorityLocked, IssuingAuthority
from mesh.errors import Refusal
from tests.unit.connector.plane import PROFILES, FixedClock


def load(folder: Path, passphrase_file: Path | None = None) -> IssuingAuthority:
    return IssuingAuthority.load(folder, passphrase_file, PROFILES, FixedClock())


def test_the_first_line_of_the_passphrase_file_opens_the_key(tmp_path: Path, authorities: Authority) -> None:
    authorities.save(tmp_path / "issuing", b"open sesame")
    (tmp_path / "passphrase").write_bytes(b"open sesame\n# kept in the safe\n")

    assert (
        load(tmp_path / "issuing", tmp_path / "passphrase").root_pins
        == IssuingAuthority(authorities, PROFILES, FixedClock()).root_pins
    )


@pytest.mark.parametrize("content", [b"wrong\n", b"\n", b""])
def test_a_passphrase_that_does_not_open_the_key_is_said_in_one_line(
    tmp_path: Path, authorities: Authority, content: bytes
) -> None:
    authorities.save(tmp_path / "issuing", b"open sesame")
    (tmp_path / "passphrase").write_bytes(content)

    with pytest.raises(AuthorityLocked) as locked:
        load(tmp_path / "issuing", tmp_path / "passphrase")

    assert str(tmp_path / "issuing") in str(locked.value)
    assert "\n" not in str(locked.value)


def test_an_encrypted_key_without_a_passphrase_is_locked(tmp_path: Path, authorities: Authority) -> None:
    authorities.save(tmp_path / "issuing", b"open sesame")

    with pytest.raises(AuthorityLocked, match="passphrase"):
        load(tmp_path / "issuing")


def test_a_passphrase_file_that_is_not_there_is_named(tmp_path: Path, authorities: Authority) -> None:
    authorities.save(tmp_path / "issuing", b"open sesame")

    with pytest.raises(AuthorityLocked, match="nowhere"):
        load(tmp_path / "issuing", tmp_path / "nowhere")


def test_a_folder_without_an_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuthorityRefused):
        load(tmp_path / "issuing")


async def test_an_authority_whose_time_is_over_makes_the_connector_not_ready(authority: IssuingAuthority) -> None:
    await authority.check()
    over = FixedClock(authority.authority.certificate.not_valid_after_utc)

    with pytest.raises(Refusal):
        await replace(authority, clock=over).check()

"""The credentials on disk: fetched when a configuration asks for them, and gone when it no longer does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.configuration import Configuration
from agent.credentials import Credentials, CredentialsFailed
from certs.identity import IdentityReason, IdentityRefused
from tests.support.configurations import OTHER_PLANE, application, application_id_of, configuration
from tests.unit.agent.vault import RUNTIME, Vault, sharing, tokens_in, tokens_of


def opened(vault: Vault, folder: Path) -> Credentials:
    credentials = vault.credentials(folder)
    credentials.open()
    return credentials


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def bring(credentials: Credentials, wanted: Configuration) -> None:
    credentials.keep(wanted, await credentials.fetch())


async def test_every_page_is_fetched_and_each_application_has_a_file(tmp_path: Path) -> None:
    vault = Vault({1: "one", 2: "two", 3: "three"})
    credentials = opened(vault, tmp_path / "credentials")
    await bring(credentials, configuration(5, sharing(1, 2), sharing(2, 3), sharing(3, 4)))
    assert tokens_in(tmp_path / "credentials") == tokens_of(vault.tokens)
    assert {call.runtime_id for call in vault.calls} == {RUNTIME}
    assert len(vault.calls) == 3


async def test_only_the_agent_can_look_into_the_folder_and_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o755)
    credentials = opened(Vault({1: "one"}), folder)
    await bring(credentials, configuration(5, sharing(1, 2)))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


async def test_what_was_fetched_holds_for_its_configuration_also_after_a_restart(tmp_path: Path) -> None:
    wanted = configuration(5, sharing(1, 2), application(2)).with_credentials(4)
    credentials = opened(Vault({1: "one"}), tmp_path)
    assert not credentials.hold(wanted)
    await bring(credentials, wanted)
    assert credentials.hold(wanted.moved(9))
    assert opened(Vault(), tmp_path).hold(wanted)


WANTED = configuration(5, sharing(1, 2), application(2)).with_credentials(4)


@pytest.mark.parametrize(
    "other",
    [
        configuration(6, sharing(1, 6), application(2)).with_credentials(4),
        configuration(6, sharing(1, 2), application(2)).with_credentials(6),
        configuration(6, sharing(1, 2), application(2), application(3)).with_credentials(4),
        configuration(6, sharing(1, 2), application(2), plane=OTHER_PLANE).with_credentials(4),
        configuration(6, sharing(1, 2), application(2)),
    ],
    ids=["a shared one changed", "one of its own changed", "a new application", "another plane", "none of its own"],
)
async def test_what_was_fetched_does_not_hold_where_it_may_have_changed(tmp_path: Path, other: Configuration) -> None:
    credentials = opened(Vault({1: "one"}), tmp_path)
    await bring(credentials, WANTED)
    assert not credentials.hold(other)


async def test_a_runtime_without_credentials_has_none_to_fetch(tmp_path: Path) -> None:
    credentials = opened(Vault(), tmp_path)
    assert credentials.hold(configuration(5, application(1)))
    assert credentials.hold(configuration(6, application(1), application(2)))


async def test_those_of_an_application_that_serves_no_longer_are_removed_without_a_call(tmp_path: Path) -> None:
    vault = Vault({1: "one", 2: "two"})
    credentials = opened(vault, tmp_path)
    await bring(credentials, configuration(5, sharing(1, 2), sharing(2, 3)))
    left = configuration(6, sharing(2, 3))
    credentials.forget(left)
    assert credentials.hold(left)
    assert tokens_in(tmp_path) == tokens_of({2: "two"})
    none = configuration(7, application(3))
    credentials.forget(none)
    assert credentials.hold(none)
    assert tokens_in(tmp_path) == {}


async def test_a_credential_that_is_gone_is_gone_from_the_disk(tmp_path: Path) -> None:
    vault = Vault({1: "one", 2: "two"})
    credentials = opened(vault, tmp_path)
    await bring(credentials, configuration(5, sharing(1, 2), sharing(2, 3)))
    del vault.tokens[1]
    await bring(credentials, configuration(6, sharing(1, 6), sharing(2, 3)))
    assert tokens_in(tmp_path) == tokens_of({2: "two"})


async def test_those_of_an_application_that_is_not_in_the_configuration_yet_are_not_kept(tmp_path: Path) -> None:
    credentials = opened(Vault({1: "one", 2: "two"}), tmp_path)
    await bring(credentials, configuration(5, sharing(1, 2)))
    assert tokens_in(tmp_path) == tokens_of({1: "one"})
    assert not credentials.hold(configuration(6, sharing(1, 2), sharing(2, 6)))


async def test_what_an_agent_left_that_was_killed_is_cleared_away(tmp_path: Path) -> None:
    wanted = configuration(5, sharing(1, 2))
    await bring(opened(Vault({1: "one"}), tmp_path), wanted)
    (tmp_path / ".half-written.json.0123").write_text("secret")
    (tmp_path / "11111111-2222-4333-8444-555555555555.json").write_text("secret")
    assert opened(Vault(), tmp_path).hold(wanted)
    assert tokens_in(tmp_path) == tokens_of({1: "one"})
    assert names_in(tmp_path) == {f"{application_id_of(1)}.json", "revisions.json"}


async def test_a_record_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    wanted = configuration(5, sharing(1, 2))
    await bring(opened(Vault({1: "one"}), tmp_path), wanted)
    (tmp_path / "revisions.json").write_text("{")
    assert not opened(Vault(), tmp_path).hold(wanted)
    assert tokens_in(tmp_path) == {}


def no_identity() -> None:
    raise IdentityRefused(IdentityReason.MISSING, "there is no identity")


async def test_a_call_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(CredentialsFailed, match=r"cannot be fetched: UNAVAILABLE: nobody is there"):
        await Vault(failing=True).credentials(tmp_path).fetch()


@pytest.mark.parametrize("director", [no_identity])
async def test_an_agent_without_an_identity_says_so(tmp_path: Path, director: Callable[[], object]) -> None:
    credentials = Credentials(tmp_path, RUNTIME, director)  # type: ignore[arg-type]  # it never gives one
    with pytest.raises(CredentialsFailed, match="there is no identity"):
        await credentials.fetch()

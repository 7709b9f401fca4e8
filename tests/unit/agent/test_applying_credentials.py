"""A configuration is applied with the credentials that it asks for, or not at all."""

from datetime import timedelta
from pathlib import Path

from moorage.director.v1.configuration_pb2 import REPORT_STATE_APPLIED, REPORT_STATE_FAILED, ResourceFailure

from agent.cache import Cache
from agent.disk import Disk
from agent.outcome import Outcome
from mesh.backoff import Backoff
from tests.support.configurations import application, configuration
from tests.unit.agent.disks import shown
from tests.unit.agent.scene import scene
from tests.unit.agent.vault import Vault, sharing, tokens_in, tokens_of

SOON = timedelta(milliseconds=1)
HOURS = timedelta(hours=1)


async def test_the_hook_finds_the_credentials_in_place(tmp_path: Path) -> None:
    vault = Vault({1: "one"})
    async with scene(tmp_path, vault=vault) as at:
        at.hook.free.clear()
        at.applier.offer(configuration(3, sharing(1, 3)))
        await at.hook.entered.wait()
        assert tokens_in(tmp_path / "credentials") == tokens_of(vault.tokens)


async def test_what_asks_for_no_credentials_is_applied_without_a_call(tmp_path: Path) -> None:
    vault = Vault(failing=True)
    async with scene(tmp_path, vault=vault) as at:
        assert (await at.apply(configuration(3, application(1)))).state == REPORT_STATE_APPLIED
    assert vault.calls == []


async def test_a_shared_credential_that_changed_is_fetched_and_the_hook_is_told(tmp_path: Path) -> None:
    vault = Vault({1: "one"})
    async with scene(tmp_path, vault=vault) as at:
        await at.apply(configuration(3, sharing(1, 3)))
        vault.tokens[1] = "another"
        assert (await at.apply(configuration(4, sharing(1, 4)))).state == REPORT_STATE_APPLIED
        assert tokens_in(tmp_path / "credentials") == tokens_of({1: "another"})
        assert at.hook.ran == [3, 4]


async def test_a_credential_of_the_runtimes_own_that_changed_is_fetched_and_the_hook_is_told(tmp_path: Path) -> None:
    vault = Vault()
    held = configuration(3, application(1))
    async with scene(tmp_path, vault=vault) as at:
        await at.apply(held)
        vault.tokens[1] = "its own"
        told = held.moved(5).with_credentials(5)
        assert await at.apply(told) == Outcome(REPORT_STATE_APPLIED, 5, held.content_sha256)
        assert tokens_in(tmp_path / "credentials") == tokens_of({1: "its own"})
        assert at.hook.ran == [3, 5]
    reopened = Cache(tmp_path, Disk()).open()
    assert reopened is not None
    assert reopened.configuration.credentials_revision == 5


async def test_without_its_credentials_a_configuration_is_not_applied(tmp_path: Path) -> None:
    vault = Vault({1: "one"})
    good = configuration(3, application(2))
    async with scene(tmp_path, retries=Backoff(HOURS, HOURS), vault=vault) as at:
        await at.apply(good)
        vault.failing = True
        outcome = await at.apply(configuration(4, application(2), sharing(1, 4)))
        failure = ResourceFailure(message="the credentials cannot be fetched: UNAVAILABLE: nobody is there")
        assert outcome == Outcome(REPORT_STATE_FAILED, 4, good.content_sha256, (failure,))
        assert shown(tmp_path) == good
        assert at.hook.ran == [3]


async def test_credentials_that_could_not_be_fetched_are_once_they_can(tmp_path: Path) -> None:
    vault = Vault({1: "one"}, failing=True)
    async with scene(tmp_path, retries=Backoff(SOON, SOON), vault=vault) as at:
        new = configuration(4, sharing(1, 4))
        assert (await at.apply(new)).state == REPORT_STATE_FAILED
        vault.failing = False
        while (outcome := await at.settled()).state == REPORT_STATE_FAILED:
            pass
        assert outcome == Outcome(REPORT_STATE_APPLIED, 4, new.content_sha256)
        assert tokens_in(tmp_path / "credentials") == tokens_of(vault.tokens)


async def test_a_change_of_credentials_is_tried_though_what_came_before_it_failed(tmp_path: Path) -> None:
    vault = Vault({1: "one"}, failing=True)
    async with scene(tmp_path, retries=Backoff(HOURS, HOURS), vault=vault) as at:
        failed = configuration(4, sharing(1, 4))
        await at.apply(failed)
        vault.failing = False
        assert (await at.apply(failed.moved(5).with_credentials(5))).state == REPORT_STATE_APPLIED


async def test_what_the_hook_refused_keeps_the_credentials_that_hold_now(tmp_path: Path) -> None:
    vault = Vault({1: "one"})
    good = configuration(3, sharing(1, 3))
    async with scene(tmp_path, vault=vault) as at:
        await at.apply(good)
        vault.tokens[1] = "another"
        at.hook.refused.add(4)
        assert (await at.apply(configuration(4, sharing(1, 4)))).state == REPORT_STATE_FAILED
        assert shown(tmp_path) == good
        assert tokens_in(tmp_path / "credentials") == tokens_of({1: "another"})


async def test_an_application_that_leaves_takes_its_credentials_along_though_the_plane_is_away(tmp_path: Path) -> None:
    vault = Vault({1: "one", 2: "two"})
    async with scene(tmp_path, vault=vault) as at:
        await at.apply(configuration(3, sharing(1, 2), sharing(2, 3)))
        vault.failing = True
        assert (await at.apply(configuration(4, sharing(2, 3)))).state == REPORT_STATE_APPLIED
        assert tokens_in(tmp_path / "credentials") == tokens_of({2: "two"})


async def test_credentials_that_were_lost_while_the_agent_was_away_are_fetched_at_its_start(tmp_path: Path) -> None:
    vault = Vault({1: "one"})
    async with scene(tmp_path, vault=vault) as at:
        await at.apply(configuration(3, sharing(1, 3)))
    for path in (tmp_path / "credentials").iterdir():
        path.unlink()
    async with scene(tmp_path, vault=vault) as at:
        assert (await at.settled()).state == REPORT_STATE_APPLIED
        assert tokens_in(tmp_path / "credentials") == tokens_of(vault.tokens)


async def test_at_its_start_an_agent_that_has_its_credentials_does_nothing(tmp_path: Path) -> None:
    vault = Vault({1: "one"})
    async with scene(tmp_path, vault=vault) as at:
        await at.apply(configuration(3, sharing(1, 3)))
    async with scene(tmp_path, vault=vault) as at:
        assert (await at.apply(configuration(4, sharing(1, 3)))).revision == 4
        assert at.hook.ran == []
    assert vault.fetches == 1

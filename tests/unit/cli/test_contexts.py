"""Contexts: which there are, which is in use, and whom a command calls as."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from certs.clock import system_clock
from cli.contexts import Contexts
from mesh.exits import Exit, Stopped
from tests.support.command import Ended, run_command
from tests.support.identities import Mint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
def contexts(root: Path) -> Contexts:
    return Contexts(root)


@pytest.fixture(scope="module")
def mint(tmp_path_factory: pytest.TempPathFactory) -> Mint:
    return Mint(tmp_path_factory.mktemp("identities"))


@pytest.fixture
def two(contexts: Contexts, mint: Mint) -> Contexts:
    """Contexts `home` of the administrator ada and `work` of the viewer vera, which is in use."""
    mint.identity("admin", "ada", folder=contexts.folder("home"))
    mint.identity("viewer", "vera", folder=contexts.folder("work"))
    contexts.use("work")
    return contexts


def moorage(root: Path, *arguments: str, home: Path | None = None) -> Ended:
    return run_command(*arguments, contexts=root, home=home)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"MOORAGE_CONFIG": "/a", "XDG_CONFIG_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CONFIG_HOME": "/b"}, "/b/moorage"),
        ({}, str(Path("~/.config/moorage").expanduser())),
    ],
)
def test_contexts_are_where_the_environment_says(environ: dict[str, str], folder: str) -> None:
    assert Contexts.of_user(environ).root == Path(folder)


def test_there_are_no_contexts_at_first(root: Path) -> None:
    assert json.loads(moorage(root, "context", "list", "-o", "json").stdout) == {"contexts": []}
    none = moorage(root, "context", "current")
    assert none.returncode == Exit.NOT_FOUND
    assert none.stdout == ""


def test_contexts_are_listed_with_whom_they_make_one(root: Path, two: Contexts) -> None:
    titles, *rows = moorage(root, "context", "list").stdout.splitlines()
    assert titles.split() == ["NAME", "CURRENT", "SPIFFE_ID", "ENDS"]
    assert rows[0].split()[:2] == ["home", "spiffe://moorage.test/admin/ada"]
    assert rows[1].split()[:3] == ["work", "*", "spiffe://moorage.test/viewer/vera"]
    assert moorage(root, "context", "list", "-o", "name").stdout == "home\nwork\n"


def test_a_context_whose_identity_is_damaged_is_listed_all_the_same(root: Path, two: Contexts) -> None:
    (two.folder("home") / "tls.key").write_text("nonsense")
    shown = json.loads(moorage(root, "context", "list", "-o", "json").stdout)["contexts"]
    assert shown[0] == {"name": "home", "current": False}


def test_a_login_that_did_not_come_to_its_end_makes_no_context(contexts: Contexts) -> None:
    contexts.folder("work").mkdir(parents=True)
    (contexts.folder("work") / "pending.key").touch()
    assert contexts.names == []


def test_another_context_can_be_chosen(root: Path, two: Contexts) -> None:
    assert moorage(root, "context", "current").stdout == "work\n"
    assert moorage(root, "context", "use", "home").returncode == Exit.OK
    assert moorage(root, "context", "current").stdout == "home\n"


def test_a_context_that_is_deleted_leaves_no_key_and_is_no_longer_in_use(root: Path, two: Contexts) -> None:
    deleted = moorage(root, "context", "delete", "work")
    assert deleted.returncode == Exit.OK
    assert "certificate" in deleted.stderr
    assert not two.folder("work").exists()
    assert moorage(root, "context", "current").returncode == Exit.NOT_FOUND
    assert two.names == ["home"]


@pytest.mark.parametrize("command", ["use", "delete"])
def test_a_context_that_is_not_there_is_not_found(root: Path, two: Contexts, command: str) -> None:
    refused = moorage(root, "context", command, "boat")
    assert refused.returncode == Exit.NOT_FOUND
    assert "moorage context list" in refused.stderr
    assert two.current == "work"


@pytest.mark.parametrize("name", ["../work", "", ".", "a/b", "-x", "x" * 64])
def test_a_name_that_could_lead_elsewhere_is_none(root: Path, two: Contexts, name: str) -> None:
    assert moorage(root, "context", "delete", "--", name).returncode == Exit.USAGE
    assert moorage(root, "identity", "list", "--context", name).returncode == Exit.USAGE
    assert two.names == ["home", "work"]


def test_contexts_in_a_folder_that_cannot_be_used_are_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stopped, match="MOORAGE_CONFIG") as refused:
        Contexts(tmp_path / "file").use("work")
    assert refused.value.code is Exit.HOME_NOT_WRITABLE


class Called:
    """Whom the commands of a test would have called as."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.folder: Path | None = None

    def __call__(self, *arguments: str, home: Path | None = None) -> Ended:
        def connect(target: object, _: object) -> object:
            self.folder = target.identity_folder  # type: ignore[attr-defined]  # a Target
            raise Stopped(Exit.UNEXPECTED, "seen")

        return run_command("identity", "list", *arguments, contexts=self._root, home=home, obj=connect)


@pytest.fixture
def called(root: Path) -> Called:
    return Called(root)


def test_a_command_calls_as_the_context_in_use(called: Called, two: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOORAGE_HOME", raising=False)
    called()
    assert called.folder == two.folder("work")
    called("--context", "home")
    assert called.folder == two.folder("home")


def test_a_home_that_is_named_comes_before_the_context_in_use(called: Called, two: Contexts, tmp_path: Path) -> None:
    called(home=tmp_path / "a")
    assert called.folder == tmp_path / "a" / "identities" / "admin"
    called("--home", str(tmp_path / "b"))
    assert called.folder == tmp_path / "b" / "identities" / "admin"
    called("--context", "work", home=tmp_path / "a")
    assert called.folder == two.folder("work")


def test_an_identity_that_is_named_comes_before_the_context_in_use(called: Called, two: Contexts) -> None:
    called("--identity", "paired")
    assert called.folder == Path("paired")


def test_an_identity_and_a_context_are_not_both_named(called: Called, two: Contexts) -> None:
    assert called("--identity", "paired", "--context", "work").returncode == Exit.USAGE
    assert called.folder is None


def test_a_context_past_its_end_says_how_to_come_back(root: Path, contexts: Contexts, tmp_path: Path) -> None:
    long_ago = Mint(tmp_path / "mint", clock=lambda: system_clock() - timedelta(days=2))
    long_ago.identity("admin", "ada", folder=contexts.folder("work"))
    (contexts.folder("work") / "addresses.json").write_text('{"connector": "127.0.0.1:1"}')
    refused = moorage(root, "identity", "list", "--context", "work")
    assert refused.returncode == Exit.REFUSED
    assert "spiffe://moorage.test/admin/ada" in refused.stderr
    assert "moorage login --name work --replace" in refused.stderr

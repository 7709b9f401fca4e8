"""A scripted plane, and the command as a test runs it against that plane."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from cli import exits
from cli.__main__ import moorage
from tests.support.identities import Mint
from tests.unit.cli_nouns.plane import ScriptedPlane


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ended: ...


@pytest.fixture(scope="session")
def mint(tmp_path_factory: pytest.TempPathFactory) -> Mint:
    return Mint(tmp_path_factory.mktemp("identities"))


@pytest.fixture
def plane(tmp_path: Path, mint: Mint) -> Iterator[ScriptedPlane]:
    scripted = ScriptedPlane(tmp_path, mint.identity("admin", "ada"))
    with scripted.served():
        yield scripted


@pytest.fixture
def run(plane: ScriptedPlane, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = exits.run(
            lambda: moorage.main(list(arguments), prog_name="moorage", standalone_mode=False, obj=plane.connect)
        )
        shown = capsys.readouterr()
        return Ended(code, shown.out, shown.err)

    return command

"""A scripted plane, and the command as a test runs it against that plane."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.command import Ended, run_command
from tests.support.identities import Mint
from tests.unit.cli_nouns.plane import ScriptedPlane


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
def run(plane: ScriptedPlane) -> Run:
    def command(*arguments: str, stdin: bytes = b"") -> Ended:
        return run_command(*arguments, stdin=stdin, obj=plane.connect)

    return command

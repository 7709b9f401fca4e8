"""`moorage SERVICE run` is `python -m SERVICE`, to the exit code and the line that it ends with."""

import subprocess
import sys
from pathlib import Path

import pytest

from mesh.exits import Exit
from tests.support.plane import Up, moorage

PROGRAMS = ["director", "connector", "provisioner", "agent"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_missing_from_its_settings_is_told_in_the_same_words(program: str) -> None:
    by_command = moorage(program, "run")
    by_module = subprocess.run([sys.executable, "-m", program], capture_output=True, text=True, timeout=50)
    assert by_command.returncode == by_module.returncode == Exit.USAGE
    assert by_command.stderr == by_module.stderr
    assert by_command.stderr.startswith(f"{program}: [{program}] lacks ")


def test_it_runs_with_the_settings_that_it_is_given(up: Up) -> None:
    done = moorage("connector", "run", "--config", str(up.home / "moorage.toml"))
    assert done.returncode == Exit.PORT_TAKEN  # by the one that `moorage up` runs with the same settings
    assert "cannot be listened on" in done.stderr


def test_an_agent_is_passed_the_token_on_standard_input(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(f'[agent]\nhome = "{tmp_path / "home"}"\n')
    done = moorage("agent", "run", "--config", str(tmp_path / "agent.toml"), "--token-stdin", stdin="moor_torn\n")
    assert done.returncode == Exit.TOKEN_MALFORMED
    assert done.stderr.startswith("agent: no one-time token on standard input: ")
    assert "torn" not in done.stderr

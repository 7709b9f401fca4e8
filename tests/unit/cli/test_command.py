"""The command itself: its help, what it loads, and how it fails."""

import subprocess
import sys
from collections.abc import Sequence

import click
import pytest

from cli import exits
from cli.__main__ import COMMANDS, main, moorage
from mesh.exits import Exit, Stopped


def run_main(arguments: Sequence[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["--help"]) == Exit.OK
    shown = capsys.readouterr().out
    assert all(f"\n  {name}" in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_agrees_with_the_list(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main([name, "--help"]) == Exit.OK
    assert capsys.readouterr().out.startswith(f"Usage: moorage {name} ")
    assert isinstance(moorage.get_command(click.Context(moorage), name), click.Command)


def test_help_loads_nothing_that_is_slow() -> None:
    heavy = {"asyncio", "cryptography", "dbos", "grpc", "httpx", "rich", "sqlalchemy", "structlog"}
    script = f"""
import sys
from cli.__main__ import main
try:
    main(["--help"])
finally:
    print(sorted({heavy!r} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == "[]\n"


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["--version"]) == Exit.OK
    assert capsys.readouterr().out.startswith("moorage ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["launch"], "moorage: No such command 'launch'. See 'moorage --help'.\n"),
        (["up", "--tide"], "moorage: No such option '--tide'. See 'moorage up --help'.\n"),
        (
            ["up", "--port", "65533"],
            "moorage: Invalid value for '--port': 65533 is not in the range 0<=x<=65532. See 'moorage up --help'.\n",
        ),
        (
            ["up", "--listen", "harbour"],
            "moorage: Invalid value for '--listen': harbour is not an IP address. See 'moorage up --help'.\n",
        ),
        (
            ["up", "--listen", "0.0.0.0"],
            "moorage: Invalid value for '--listen': 0.0.0.0 is every address: name the one that clients are to use. "
            "See 'moorage up --help'.\n",
        ),
    ],
)
def test_a_command_line_that_cannot_be_read_is_answered_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(arguments) == Exit.USAGE
    assert capsys.readouterr().err == says


def test_what_stops_a_command_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise Stopped(Exit.PORT_TAKEN, "the port\nis taken")

    assert exits.run(command) == Exit.PORT_TAKEN
    assert capsys.readouterr().err == "moorage: the port is taken\n"


def test_an_error_that_nobody_foresaw_says_where_it_was_raised(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise LookupError("no such buoy")

    assert exits.run(command) == Exit.UNEXPECTED
    first, second = capsys.readouterr().err.splitlines()
    assert first == "moorage: unexpected LookupError: no such buoy; please report it"
    assert "test_command.py" in second


def test_an_interrupted_command_says_so_by_its_exit_code() -> None:
    def command() -> None:
        raise KeyboardInterrupt

    assert exits.run(command) == Exit.INTERRUPTED

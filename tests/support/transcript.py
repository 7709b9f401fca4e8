"""Commands of a document, run as they stand in one shell, and what each of them printed."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answered:
    """One command as the document has it, continuation lines included, and all that it wrote, errors too."""

    command: str
    output: str


def shell_blocks(document: Path) -> list[str]:
    """The commands of a Markdown document's `sh` blocks, one block after the other."""
    return _commands("".join(re.findall(r"^```sh\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)))


def console_lines(document: Path, program: str) -> list[str]:
    """The commands after the `$ ` of a document's `console` blocks that call `program`."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL))
    return [line[2:] for line in blocks.splitlines() if line.startswith(f"$ {program} ")]


def run_all(
    commands: Sequence[str], *, environ: Mapping[str, str], folder: Path, timeout: float = 50
) -> list[Answered]:
    """Run the commands in one bash that ends at the first failure, as `set -euo pipefail` has it, which fails the test.

    The programs beside this Python come first on the path. `folder` is where they run.
    """
    script = folder / "commands.sh"
    script.write_text("".join(f"{command}\n" for command in commands))
    # -v: bash writes each line that it reads to where the commands write, and so tells their outputs apart.
    done = subprocess.run(
        ["bash", "-v", "-euo", "pipefail", str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environ, "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"},
        cwd=folder,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return _told_apart(commands, done.stdout)


def _commands(script: str) -> list[str]:
    return re.findall(r"(?:[^\n]*\\\n)*[^\n]+", script)


def _told_apart(commands: Sequence[str], written: str) -> list[Answered]:
    answered = []
    _, _, rest = written.partition(f"{commands[0]}\n")
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        output, _, rest = rest.partition(f"{following}\n") if following else (rest, "", "")
        answered.append(Answered(command, output))
    return answered

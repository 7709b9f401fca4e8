"""Help comes at once, for nothing that is slow is loaded for it, and says what it has to say."""

import subprocess
import sys

import click
import pytest

from cli.__main__ import moorage

NOUNS = (
    *("application", "api", "event-api", "bundle", "document", "credential", "access-request"),
    *("group", "runtime", "label", "operation", "token", "pair"),
    *("login", "context", "certificate", "identity", "revocations", "status"),
)
SLOW = {"grpc", "google.protobuf", "cryptography", "rich", "structlog", "yaml"}


def test_help_of_every_noun_loads_nothing_slow() -> None:
    script = f"""
import sys
from cli import exits
from cli.__main__ import moorage
for noun in {NOUNS}:
    assert exits.run(lambda: moorage.main([noun, "--help"], standalone_mode=False)) == 0
print(sorted({SLOW} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    "group",
    [
        ("application",),
        ("application", "webhook"),
        ("api",),
        ("event-api",),
        ("bundle",),
        ("document",),
        ("credential",),
        ("access-request",),
        ("group",),
        ("runtime",),
        ("label",),
        ("token",),
        ("context",),
        ("certificate",),
        ("identity",),
        ("revocations",),
    ],
)
def test_what_a_noun_says_of_its_commands_is_said_to_the_end(group: tuple[str, ...]) -> None:
    context = click.Context(moorage, info_name="moorage")
    command: click.Command | None = moorage
    for name in group:
        assert isinstance(command, click.Group)
        command = command.get_command(context, name)
    assert isinstance(command, click.Group)
    said = command.get_help(click.Context(command, info_name=group[-1], terminal_width=80))
    assert "..." not in said.partition("Commands:")[2]

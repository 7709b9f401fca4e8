"""The `moorage` command: `moorage --help` loads nothing but click; a sub-command is loaded when it is called."""

import importlib
import sys
from collections.abc import Mapping, Sequence

import click

from cli import exits

# Command: the module that has it, under which name, and what `moorage --help` says of it.
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "up": ("cli.up", "up", "Run the whole plane on this machine, in the foreground."),
    "demo": ("cli.demo.command", "demo", "Run the whole story once, on a plane of its own, and show each step."),
    "status": ("cli.status", "status", "The plane at a glance: which services answer, and how the Runtimes stand."),
    "application": ("cli.application", "application", "Applications, and where each hears of its Runtimes."),
    "api": ("cli.api", "api", "The APIs that Applications offer."),
    "event-api": ("cli.event_api", "event_api", "The events that Applications send."),
    "bundle": ("cli.bundle", "bundle", "APIs and Event APIs that share credentials."),
    "document": ("cli.document", "document", "Texts for those who use what an Application offers."),
    "credential": ("cli.credential", "credential", "What Runtimes call APIs with."),
    "access-request": ("cli.access_request", "access_request", "Runtimes ask for credentials of their own."),
    "group": ("cli.group", "group", "Which Applications serve which Runtimes."),
    "runtime": ("cli.runtime", "runtime", "Runtimes: create, watch and remove them."),
    "label": ("cli.label", "label", "Which values labels may have."),
    "operation": ("cli.operation", "operation", "What the Provisioner works on, and what became of it."),
    "token": ("cli.token", "token", "One-time tokens, which newcomers pair with."),
    "login": ("cli.login", "login", "Turn a one-time token into a context: who you are to a plane."),
    "context": ("cli.context", "context", "The planes that you have logged in to, and as whom."),
    "certificate": ("cli.certificate", "certificate", "The certificates that were issued, and their revocation."),
    "identity": ("cli.identity", "identity", "Who has certificates, and who is banned."),
    "revocations": ("cli.revocation", "revocations", "The certificate revocation list, for parties outside the plane."),
    "pair": ("cli.pair", "pair", "Turn a one-time token into an identity on disk."),
    "director": ("cli.director", "director", "Run the Director alone, and look after what it keeps."),
    "connector": ("cli.service", "connector", "Run the Connector alone."),
    "provisioner": ("cli.service", "provisioner", "Run the Provisioner alone."),
    "agent": ("cli.service", "agent", "Run a Runtime's agent."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are first needed, from a table like `COMMANDS`."""

    def __init__(self, name: str, *, table: Mapping[str, tuple[str, str, str]], help: str) -> None:
        super().__init__(name, help=help)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The table's names, in its order."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None where the table has no such name."""
        if cmd_name not in self._table:
            return None
        module, attribute, _ = self._table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._table.items()])


moorage = LazyGroup(
    "moorage",
    table=COMMANDS,
    help="A management plane: register Applications, create Runtimes, stream configuration to them.",
)


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"moorage {version('moorage')}")
        context.exit()


moorage.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        help="Show the version.",
        callback=_print_version,
    )
)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: runs the command that `argv` (default: the process's arguments) names, and exits."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(exits.run(lambda: moorage.main(arguments, prog_name="moorage", standalone_mode=False)))


if __name__ == "__main__":
    main()

"""What the commands that call the plane have in common on the command line."""

import asyncio
import functools
import os
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Concatenate, ParamSpec

import click

from cli.connection import Connection, Target
from cli.contexts import NAME, Contexts
from cli.output import FORMATS, Output
from cli.plane.home import Home
from mesh.address import AddressRefused, target_of
from mesh.exits import Exit, Stopped

P = ParamSpec("P")
Command = Callable[..., None]
CommandDecorator = Callable[[Command], Command]
Connect = Callable[[Target, Output], Connection]


class Span(click.ParamType[timedelta]):
    """A length of time, more than none: `10` or `10s` for seconds, `500ms`, `30m`, `1h`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it; fails as click's types do."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)?", str(value))
        span = timedelta(seconds=float(match[1]) * _SECONDS[match[2] or "s"]) if match else timedelta()
        if not span:
            self.fail(f"{value} is no length of time: write it like 500ms, 10s, 30m or 1h.", param, ctx)
        return span


_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


class Address(click.ParamType[str]):
    """`HOST:PORT`, `dns:///NAME:PORT`, or a list `IP:PORT,IP:PORT`."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it; fails as click's types do."""
        try:
            target_of(str(value))
        except AddressRefused as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)


class Instant(click.ParamType[datetime]):
    """A point in time as RFC 3339 writes it, `2030-01-31T12:00:00Z`, or a day, which begins at midnight in UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it; fails as click's types do."""
        if isinstance(value, datetime):
            return value
        try:
            read = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is no time: write it like 2030-01-31 or 2030-01-31T12:00:00Z.", param, ctx)
        return read if read.tzinfo else read.replace(tzinfo=UTC)


class ContextName(click.ParamType[str]):
    """The name of a context."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it; fails as click's types do."""
        if not NAME.fullmatch(str(value)):
            self.fail(f"{value} is not 1 to 63 letters, digits and inner '.', '_' or '-'.", param, ctx)
        return str(value)


FILE = click.Path(path_type=Path, allow_dash=True)
"""A file's name; `-` is standard input. It is read by `read_file`."""

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Format of the data; wide has all columns, name the names alone.",
)
timeout_option = click.option(
    "--timeout", type=Span(), default="10s", show_default=True, help="How long a call may take, its retries included."
)
etag_option = click.option("--etag", help="Refuse unless this is its etag, as it was read.")
force_option = click.option("--force", is_flag=True, help="Delete it whatever holds it.")
description_option = click.option("--description", help="For people, up to 1,000 characters.")
application_option = click.option(
    "--application", help="Id or name of the Application that offers it.  [default: the one that calls]"
)
bundle_option = click.option("--bundle", help="Id or name of the bundle that it is in; '' for none.")
request_id_option = click.option(
    "--request-id", help="UUID that makes it harmless to run the command again.  [default: a new one]"
)


def connected(command: Callable[Concatenate[Connection, P], Coroutine[object, object, None]]) -> Command:
    """Give a command the options that say which plane it calls, as whom, and how it prints, and run it to its end.

    `Context.obj`, where set, is what makes the connection of the target and the output.
    """
    # Click makes the arguments of the parameters that the command declares; their types cannot be told again here.
    made: Callable[..., Coroutine[object, object, None]] = command

    @functools.wraps(command)
    def run(
        *,
        home: Path | None,
        identity: Path | None,
        context: str | None,
        director: str | None,
        connector: str | None,
        provisioner: str | None,
        timeout: timedelta,
        output: str,
        **arguments: object,
    ) -> None:
        if identity is not None and context is not None:
            raise click.UsageError("Give either --identity or --context.", click.get_current_context())
        addresses = {"director": director, "connector": connector, "provisioner": provisioner}
        target = Target(
            Home.chosen(home, os.environ),
            identity or _context_folder(context, home),
            addresses,
            timeout.total_seconds(),
            renews=identity is None,
        )
        connect: Connect = click.get_current_context().obj or Connection

        async def connected_run() -> None:
            connection = connect(target, Output(output))
            try:
                await connection.begin()
                await made(connection, **arguments)
            finally:
                await connection.close()

        asyncio.run(connected_run())

    decorated: Command = run
    for option in reversed(_CONNECTION_OPTIONS):
        decorated = option(decorated)
    return decorated


_FOLDER = click.Path(path_type=Path)
_CONNECTION_OPTIONS: Sequence[CommandDecorator] = (
    output_option,
    timeout_option,
    click.option("--home", type=_FOLDER, help="The plane's home.  [default: $MOORAGE_HOME, or ~/.local/state/moorage]"),
    click.option(
        "--context",
        type=ContextName(),
        help="Who calls, as `moorage login` named it.  [default: the home's administrator where a home is named, else "
        "the context in use]",
    ),
    click.option("--identity", type=_FOLDER, help="Folder of the identity that calls, in place of a context."),
    click.option("--director", type=Address(), help="Where the Director is.  [default: as the identity or home say]"),
    click.option("--connector", type=Address(), help="Where the Connector is."),
    click.option("--provisioner", type=Address(), help="Where the Provisioner is."),
)


def _context_folder(name: str | None, home: Path | None) -> Path | None:
    """The folder of the context that was named, else of the one in use, unless a home was named; None for the home's.

    Raises `Stopped` (NOT_FOUND).
    """
    contexts = Contexts.of_user(os.environ)
    if name is None and (home is not None or os.environ.get("MOORAGE_HOME")):
        return None
    name = name or contexts.current
    return contexts.existing(name) if name else None


def gathered(name: str, made: Callable[..., object], *options: CommandDecorator) -> CommandDecorator:
    """Options that a command takes as one argument, `name`: the dataclass `made` of them, with a field for each.

    Stands above `connected`.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**arguments: object) -> None:
            values = {parameter: arguments.pop(parameter) for parameter in parameters}
            command(**arguments, **{name: made(**values)})

        before = {each.name for each in _parameters(command)}
        decorated: Command = run
        for option in reversed(options):
            decorated = option(decorated)
        parameters = [each.name or "" for each in _parameters(decorated) if each.name not in before]
        return decorated

    return decorate


def _parameters(command: Command) -> Sequence[click.Parameter]:
    declared: Sequence[click.Parameter] = getattr(command, "__click_params__", ())
    return declared


def read_file(file: Path, what: str) -> str:
    """The text of a file that an option named, or of standard input for `-`.

    Raises `Stopped` (BAD_INPUT) where there is no such file, or it is not text.
    """
    return as_text(read_bytes(file, what), file, what)


def read_bytes(file: Path, what: str) -> bytes:
    """The bytes of such a file. Raises `Stopped` (BAD_INPUT) where there is none."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Stopped(Exit.BAD_INPUT, f"the {what} {file} cannot be read: {error.strerror}") from error


def as_text(content: bytes, file: Path, what: str) -> str:
    """What such a file holds, as text. Raises `Stopped` (BAD_INPUT) where it is none."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Stopped(Exit.BAD_INPUT, f"the {what} {file} is not text in UTF-8") from error


def read_secret(file: Path, what: str) -> str:
    """The first line of such a file: secrets come by file or standard input, never as an argument."""
    return read_file(file, what).partition("\n")[0].strip()


def new_request_id(chosen: str | None) -> str:
    """The one that was chosen, or a new UUID, so that a retry cannot create a second time (AIP-155)."""
    import uuid

    return chosen or str(uuid.uuid4())


def changed(**values: object) -> list[str]:
    """The fields to change (AIP-134): those that an option gave a value. Raises `click.UsageError` for none."""
    fields = [field for field, value in values.items() if value is not None]
    if not fields:
        raise click.UsageError("Nothing to change: no option says what.", click.get_current_context())
    return fields

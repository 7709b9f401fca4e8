"""`moorage director|connector|provisioner|agent run`: the entry points of `python -m NAME`, under one command.

They are run by name, never imported: the command knows the services only as programs.
"""

import runpy
import sys
from collections.abc import Callable, Sequence
from functools import partial

import click


def service(name: str, title: str, *more: click.Option, help: str = "") -> click.Group:
    """The group of a service, with `run`, which takes `more` options beside `--config`."""
    group = click.Group(name, help=help or f"Run {title} alone, as a program of its own.")
    text = f"Run {title} in the foreground until SIGTERM or SIGINT."
    group.add_command(program(name, "run", name, text, *more))
    return group


def program(service: str, command: str, module: str, help: str, *more: click.Option) -> click.Command:
    """A command that is `python -m MODULE`, with the settings of a service and the options that were given to it."""
    config = click.Option(
        ["--config"],
        metavar="FILE",
        help=f"TOML file with a section [{service}]; MOORAGE_{service.upper()}_* variables stand above it.",
    )
    options = [config, *more]
    run: Callable[..., None] = partial(_run_module, f"moorage {service} {command}", module, options)
    return click.Command(command, params=list[click.Parameter](options), callback=run, help=help)


def _run_module(name: str, module: str, options: Sequence[click.Option], **values: object) -> None:
    given = ((option, values[option.name or ""]) for option in options)
    sys.argv = [name, *(word for option, value in given for word in _words(option, value))]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _words(option: click.Option, value: object) -> list[str]:
    """What was said of an option, as the module's own command line takes it."""
    flag = option.opts[-1]
    if option.is_flag:
        return [flag] if value else []
    return [] if value is None else [flag, str(value)]


connector = service("connector", "the Connector")
provisioner = service("provisioner", "the Provisioner")
agent = service(
    "agent",
    "a Runtime's agent",
    click.Option(["--token-stdin"], is_flag=True, help="Read the one-time token from standard input."),
)

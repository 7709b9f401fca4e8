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


def program(service: str, command: str, module: str, help: str, *more: click.Parameter) -> click.Command:
    """A command that is `python -m MODULE`, with the settings of a service and what else was given to it."""
    config = click.Option(
        ["--config"],
        metavar="FILE",
        help=f"TOML file with a section [{service}]; MOORAGE_{service.upper()}_* variables stand above it.",
    )
    parameters = [config, *more]
    run: Callable[..., None] = partial(_run_module, f"moorage {service} {command}", module, parameters)
    return click.Command(command, params=parameters, callback=run, help=help)


def _run_module(name: str, module: str, parameters: Sequence[click.Parameter], **values: object) -> None:
    given = ((parameter, values[parameter.name or ""]) for parameter in parameters)
    sys.argv = [name, *(word for parameter, value in given for word in _words(parameter, value))]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _words(parameter: click.Parameter, value: object) -> list[str]:
    """What was said of an option or argument, as the module's own command line takes it; arguments come last."""
    if not isinstance(parameter, click.Option):
        return ["--", str(value)]
    flag = parameter.opts[-1]
    if parameter.is_flag:
        return [flag] if value else []
    return [] if value is None else [flag, str(value)]


connector = service("connector", "the Connector", help="Run the Connector alone, or bring its database up to date.")
connector.add_command(
    program(
        "connector",
        "migrate",
        "connector.migrate",
        "Bring the database to the version of this release; Connectors of the one before may run meanwhile.",
    )
)
provisioner = service("provisioner", "the Provisioner")
agent = service(
    "agent",
    "a Runtime's agent",
    click.Option(["--token-stdin"], is_flag=True, help="Read the one-time token from standard input."),
)

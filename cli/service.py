"""`moorage director|connector|provisioner|agent run`: the entry points of `python -m NAME`, under one command.

They are run by name, never imported: the command knows the services only as programs.
"""

import runpy
import sys
from collections.abc import Callable
from functools import partial

import click


def _service(name: str, title: str, *more: click.Option) -> click.Group:
    group = click.Group(name, help=f"Run {title} alone, as a program of its own.")
    config = click.Option(
        ["--config"],
        metavar="FILE",
        help=f"TOML file with a section [{name}]; MOORAGE_{name.upper()}_* variables stand above it.",
    )
    run: Callable[..., None] = partial(_run_module, name)
    text = f"Run {title} in the foreground until SIGTERM or SIGINT."
    group.add_command(click.Command("run", params=[config, *more], callback=run, help=text))
    return group


def _run_module(name: str, config: str | None, token_stdin: bool = False) -> None:
    options = ["--config", config] if config else []
    if token_stdin:
        options.append("--token-stdin")
    sys.argv = [f"moorage {name} run", *options]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


director = _service("director", "the Director")
connector = _service("connector", "the Connector")
provisioner = _service("provisioner", "the Provisioner")
agent = _service(
    "agent",
    "a Runtime's agent",
    click.Option(["--token-stdin"], is_flag=True, help="Read the one-time token from standard input."),
)

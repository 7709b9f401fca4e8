"""`moorage director|connector|provisioner|agent run`: the entry points of `python -m NAME`, under one command.

They are run by name, never imported: the command knows the services only as programs.
"""

import runpy
import sys

import click


def _service(name: str, title: str) -> click.Group:
    group = click.Group(name, help=f"Run {title} alone, as a program of its own.")
    group.add_command(
        click.Command(
            "run",
            params=[
                click.Option(
                    ["--config"],
                    metavar="FILE",
                    help=f"TOML file with a section [{name}]; MOORAGE_{name.upper()}_* variables stand above it.",
                )
            ],
            callback=lambda config: _run_module(name, config),
            help=f"Run {title} in the foreground until SIGTERM or SIGINT.",
        )
    )
    return group


def _run_module(name: str, config: str | None) -> None:
    sys.argv = [f"moorage {name} run", *(["--config", config] if config else [])]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


director = _service("director", "the Director")
connector = _service("connector", "the Connector")
provisioner = _service("provisioner", "the Provisioner")
agent = _service("agent", "a Runtime's agent")

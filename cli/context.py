"""`moorage context`: the planes that a person has logged in to, and as whom."""

import os
from typing import Any

import click

from cli.contexts import Contexts
from cli.options import ContextName, output_option
from cli.output import Output, tell
from mesh.exits import Exit, Stopped


@click.group()
def context() -> None:
    """Contexts: the planes that you have logged in to, and as whom."""


_NAME = click.argument("name", type=ContextName())


@context.command("list", short_help="Show every context, and which is in use.")
@output_option
def list_(output: str) -> None:
    """Show every context, which of them is in use, and when its certificate ends unless a command renews it before."""
    contexts, to_output = Contexts.of_user(os.environ), Output(output)
    found = [
        {"name": each, "current": each == contexts.current, **_identity(contexts, each)} for each in contexts.names
    ]
    if to_output.is_structured:
        to_output.data({"contexts": found})
        return
    rows = [
        [each["name"], "*" if each["current"] else "", each.get("spiffe_id", ""), each.get("not_after", "")]
        for each in found
    ]
    to_output.table(["NAME", "CURRENT", "SPIFFE_ID", "ENDS"], rows)


@context.command(short_help="Choose the context of the commands to come.")
@_NAME
def use(name: str) -> None:
    """Choose the context of the commands to come that name neither context, nor identity, nor home."""
    contexts = Contexts.of_user(os.environ)
    contexts.existing(name)
    contexts.use(name)
    tell(f"context {name} is in use")


@context.command()
def current() -> None:
    """Show the name of the context in use."""
    name = Contexts.of_user(os.environ).current
    if name is None:
        raise Stopped(Exit.NOT_FOUND, "no context is in use: `moorage context use` chooses one")
    click.echo(name)


@context.command(short_help="Remove a context, with its key.")
@_NAME
def delete(name: str) -> None:
    """Remove a context, with its key. The plane does not hear of it: should there be a copy, revoke the certificate."""
    contexts = Contexts.of_user(os.environ)
    contexts.existing(name)
    held = _identity(contexts, name)
    contexts.delete(name)
    serial = f"; the certificate {held['serial_number']} counts until {held['not_after']}" if held else ""
    tell(f"context {name} is deleted{serial}")


def _identity(contexts: Contexts, name: str) -> dict[str, Any]:
    """What there is to say of a context's identity; nothing where it cannot be read."""
    from certs.identity import Identity, IdentityRefused

    try:
        held = Identity(contexts.folder(name)).load()
    except (IdentityRefused, OSError):
        return {}
    return {
        "spiffe_id": str(held.spiffe_id),
        "serial_number": held.serial,
        "not_after": held.not_after.isoformat(),
    }

"""`moorage login`: a one-time token becomes a context."""

import os
from datetime import timedelta
from pathlib import Path

import click

from cli.contexts import DEFAULT, Contexts
from cli.enrolment import enrolled, enrolment_timeout_option, token_argument, token_file_option, token_line
from cli.options import ContextName, output_option
from cli.output import Output, tell


@click.command()
@token_argument
@token_file_option
@click.option("--name", type=ContextName(), default=DEFAULT, show_default=True, help="What to call the context.")
@click.option("--replace", is_flag=True, help="Replace the context of that name.")
@enrolment_timeout_option
@output_option
def login(
    token: str | None, token_file: Path | None, name: str, replace: bool, timeout: timedelta, output: str
) -> None:
    """Log in to a plane with a one-time TOKEN: who it makes you is kept as a context, which is in use from then on.

    The token comes as with `moorage pair`. The contexts are in $MOORAGE_CONFIG, or in ~/.config/moorage. Any command
    renews the certificate of the context that it uses, once two thirds of its life are over.
    """
    line = token_line(token, token_file)
    contexts = Contexts.of_user(os.environ)
    held = enrolled(line, contexts.folder(name), replace=replace, timeout=timeout, another="--name")
    contexts.use(name)
    held.show(Output(output))
    tell(f"context {name} is in use: you are {held.identity.spiffe_id}")

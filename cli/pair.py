"""`moorage pair`: a one-time token becomes an identity on disk."""

from datetime import timedelta
from pathlib import Path

import click

from cli.enrolment import enrolled, enrolment_timeout_option, token_argument, token_file_option, token_line
from cli.options import output_option
from cli.output import Output


@click.command()
@token_argument
@token_file_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the identity.")
@click.option("--replace", is_flag=True, help="Replace the identity that the folder holds.")
@enrolment_timeout_option
@output_option
def pair(token: str | None, token_file: Path | None, out: Path, replace: bool, timeout: timedelta, output: str) -> None:
    """Enrol with a one-time TOKEN and write the identity to a folder: tls.crt, tls.key, ca.crt and addresses.json.

    The token is the argument, or the first line of standard input for `-`, else that of --token-file, else
    $MOORAGE_TOKEN. Other users of this machine can see arguments. Whoever is interrupted runs the same command again.
    """
    line = token_line(token, token_file)
    enrolled(line, out, replace=replace, timeout=timeout, another="--out").show(Output(output))

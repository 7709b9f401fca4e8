"""`moorage up`: the embedded plane in the foreground."""

import os
import sys
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import click

from cli.plane.embedded import Choices, run_plane
from cli.plane.home import Home
from cli.plane.plane_file import Plane
from cli.plane.ports import ListenAddress
from mesh.address import first_of


class _Listen(click.ParamType[ListenAddress]):
    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ListenAddress:
        if isinstance(value, IPv4Address | IPv6Address):
            return value
        try:
            address = ip_address(str(value))
        except ValueError:
            self.fail(f"{value} is not an IP address.", param, ctx)
        if address.is_unspecified:
            self.fail(f"{value} is every address: name the one that clients are to use.", param, ctx)
        return address


_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--home", type=_FILE, help="Folder of its state.  [default: $MOORAGE_HOME, or ~/.local/state/moorage]")
@click.option("--listen", type=_Listen(), default="127.0.0.1", show_default=True, help="IP address to serve on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65532),
    default=7443,
    show_default=True,
    help="The Director's; Connector, enrolment and Provisioner take the next three. 0 finds free ones.",
)
@click.option(
    "--directors",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Director processes, on the ports after those four. More than one need a PostgreSQL, which --config names.",
)
@click.option("--passphrase-file", type=_FILE, help="File whose first line encrypts the authorities' keys.")
@click.option("--trust-domain", help="Chosen at the first start, for good.  [default: moorage.internal]")
@click.option("--config", type=_FILE, help="TOML file with settings of the services to change.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def up(
    home: Path | None,
    listen: ListenAddress,
    port: int,
    directors: int,
    passphrase_file: Path | None,
    trust_domain: str | None,
    config: Path | None,
    output: str,
) -> None:
    """Run the whole plane on this machine, in the foreground, until SIGTERM or Ctrl-C.

    Director, Connector and Provisioner run as programs of their own; one that dies is started again. When all are
    ready, HOME/plane.json says where they are, and HOME/identities/admin is who you are to them. With -o json that
    file's content goes to standard output too.
    """
    began = time.monotonic()
    choices = Choices(Home.chosen(home, os.environ), listen, port, passphrase_file, trust_domain, config, directors)

    def ready(plane: Plane) -> None:
        if output == "json":
            click.echo(plane.to_json(), nl=False)
            sys.stdout.flush()
        _tell(_welcome(plane, choices.home, time.monotonic() - began))

    run_plane(choices, os.environ, ready=ready, tell=_tell)


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _welcome(plane: Plane, home: Home, seconds: float) -> str:
    admin = home.identity("admin")
    certificate = f"-cacert {admin}/ca.crt -cert {admin}/tls.crt -key {admin}/tls.key"
    return f"""\
The plane is ready after {seconds:.1f} s. Ctrl-C stops it.

  director     {plane.director}
  connector    {plane.connector}
  enrolment    {plane.enrolment}
  provisioner  {plane.provisioner}

  home         {home.root}
  identity     {admin}

Look around:   grpcurl {certificate} {first_of(plane.director)} list"""

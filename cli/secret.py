"""What a Runtime calls an API with, as options tell it: its secret part never stands on the command line."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from cli.options import FILE, gathered, read_file
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.director.v1.access_request_pb2 import SuppliedCredential
    from moorage.director.v1.credential_pb2 import Credential

Type: TypeAlias = Literal["basic", "bearer", "api-key", "oauth2-client", "certificate"]

# What each type takes beside its secret, and of that what it must have.
_TAKES: dict[Type, set[str]] = {
    "basic": {"username"},
    "bearer": set(),
    "api-key": {"key_name", "key_in"},
    "oauth2-client": {"client_id", "token_url", "scopes"},
    "certificate": {"certificate"},
}
_OPTIONAL = {"key_in", "scopes"}
# What the secret part of each is called where it is asked for.
_CALLED: dict[Type, str] = {
    "basic": "password",
    "bearer": "token",
    "api-key": "key",
    "oauth2-client": "client secret",
    "certificate": "private key",
}


@dataclass(frozen=True)
class SecretOptions:
    """One credential: what may be seen of it, and the file with what may not."""

    type: Type
    secret_file: Path | None
    username: str | None
    key_name: str | None
    key_in: Literal["header", "query"] | None
    client_id: str | None
    token_url: str | None
    scopes: tuple[str, ...]
    certificate: Path | None

    def __post_init__(self) -> None:
        """Raises `click.UsageError` for options that the type does not take, or must have."""
        takes = _TAKES[self.type]
        given = {field.name for field in fields(self) if getattr(self, field.name)} - {"type", "secret_file"}
        if foreign := given - takes:
            raise _usage(f"A {self.type} credential takes no {_options(foreign)}.")
        if missing := takes - _OPTIONAL - given:
            raise _usage(f"A {self.type} credential needs {_options(missing)}.")

    def put(self, holder: "Credential | SuppliedCredential") -> None:
        """Set it in `holder`, its secret part read from the file, standard input or a prompt.

        Raises `Stopped` (BAD_INPUT) where a file cannot be read, or is empty.
        """
        from moorage.director.v1.credential_pb2 import API_KEY_LOCATION_HEADER, API_KEY_LOCATION_QUERY

        secret = self._read()
        match self.type:
            case "basic":
                holder.basic.username, holder.basic.password = self.username or "", secret
            case "bearer":
                holder.bearer.token = secret
            case "api-key":
                in_query = self.key_in == "query"
                holder.api_key.name, holder.api_key.key = self.key_name or "", secret
                holder.api_key.location = API_KEY_LOCATION_QUERY if in_query else API_KEY_LOCATION_HEADER
            case "oauth2-client":
                client = holder.oauth2_client
                client.client_id, client.client_secret = self.client_id or "", secret
                client.token_url = self.token_url or ""
                client.scopes.extend(self.scopes)
            case "certificate":
                assert self.certificate is not None  # noqa: S101 - it is needed, see above
                holder.certificate.certificate_chain = read_file(self.certificate, "certificate")
                holder.certificate.private_key = secret

    def _read(self) -> str:
        called = _CALLED[self.type]
        if self.secret_file is None:
            secret = _asked(called)
        elif self.type == "certificate":
            secret = read_file(self.secret_file, called)
        else:
            secret = read_file(self.secret_file, called).partition("\n")[0].removesuffix("\r")
        if not secret:
            raise Stopped(Exit.BAD_INPUT, f"the {called} is empty")
        return secret


secret_options = gathered(
    "secret",
    SecretOptions,
    click.option("--type", type=click.Choice(list(_TAKES)), required=True, help="What kind of credential it is."),
    click.option(
        "--from-file",
        "secret_file",
        type=FILE,
        help="File with the secret part: password, token, key or client secret on its first line, or a private key in "
        "PEM; - is stdin.  [default: asked for on a terminal]",
    ),
    click.option("--username", help="User name.  [basic]"),
    click.option("--key-name", help="Name of the header or query parameter.  [api-key]"),
    click.option(
        "--key-in", type=click.Choice(["header", "query"]), help="Where it goes; a header if not told.  [api-key]"
    ),
    click.option("--client-id", help="The client's identifier.  [oauth2-client]"),
    click.option("--token-url", help="The token endpoint: an http or https URL.  [oauth2-client]"),
    click.option("--scope", "scopes", multiple=True, help="A scope to ask for; may be given again.  [oauth2-client]"),
    click.option(
        "--certificate",
        type=click.Path(path_type=Path),
        help="File with the certificate chain in PEM, without the key.  [certificate]",
    ),
)


def _asked(called: str) -> str:
    if not _is_at_a_terminal() or called == _CALLED["certificate"]:
        raise _usage(f"No {called}: name its file with --from-file, or - for stdin.")
    answer: str = click.prompt(called.capitalize(), hide_input=True, err=True)
    return answer


def _is_at_a_terminal() -> bool:
    return sys.stdin.isatty()


def _options(names: set[str]) -> str:
    called = {"scopes": "scope"}
    return " and ".join(f"--{called.get(name, name).replace('_', '-')}" for name in sorted(names))


def _usage(message: str) -> click.UsageError:
    return click.UsageError(message, click.get_current_context())

"""`moorage.toml`: what the services of the embedded plane are run with, written anew at each start."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from certs import files
from cli.plane.home import SERVICES, Home, more_directors
from cli.plane.ports import ListenAddress, Ports, at, at_each
from mesh.exits import Exit, Stopped

Value = str | int | float | bool | list[str]
Sections = Mapping[str, Mapping[str, Value]]

_HEADER = """\
# Written by `moorage up` at each start. To change a setting, name a TOML file with it by --config,
# or set MOORAGE_<SECTION>_<FIELD>.
"""

_LISTENERS = {
    "director": ("director", "listen"),
    "connector": ("connector", "listen"),
    "enrolment": ("connector", "enrolment_listen"),
    "provisioner": ("provisioner", "listen"),
}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def settings_of(home: Home, listen: ListenAddress, ports: Ports, passphrase_file: Path | None) -> Sections:
    """One section a service: where it listens, what it stores where, and whom it calls."""
    addresses = {
        "director_address": at_each(listen, ports.directors),
        "connector_address": at(listen, ports.connector),
    }
    identities = (*SERVICES, *more_directors(len(ports.directors)), "admin")
    provisioner = at(listen, ports.provisioner)
    enrolment = at(listen, ports.enrolment)
    passphrase = {"passphrase_file": str(passphrase_file.absolute())} if passphrase_file else {}
    return {
        "director": {
            "listen": at(listen, ports.director),
            "connector_address": at(listen, ports.connector),
            "revocations_cache": str(home.service("director") / "revocations"),
            "identity": str(home.identity("director")),
            "database": _sqlite(home.service("director") / "director.sqlite"),
            "dbos_database": _sqlite(home.service("director") / "dbos.sqlite"),
            "sealing_key": str(home.service("director") / "sealing.key"),
        },
        "connector": {
            **addresses,
            **passphrase,
            "listen": at(listen, ports.connector),
            "enrolment_listen": enrolment,
            "enrolment_address": enrolment,
            "provisioner_address": provisioner,
            "identity": str(home.identity("connector")),
            "issuing_authority": str(home.issuing_authority),
            "database": _sqlite(home.service("connector") / "connector.sqlite"),
            "first_identities": [str(home.identity(name) / "tls.crt") for name in identities],
            "revocations_cache": str(home.service("connector") / "revocations"),
        },
        "provisioner": {
            **addresses,
            "listen": provisioner,
            "revocations_cache": str(home.service("provisioner") / "revocations"),
            "identity": str(home.identity("provisioner")),
            "database": _sqlite(home.service("provisioner") / "provisioner.sqlite"),
            "dbos_database": _sqlite(home.service("provisioner") / "dbos.sqlite"),
            "runtimes": str(home.service("provisioner") / "runtimes"),
            "stop_agents_on_exit": True,  # a plane in the foreground leaves nothing behind
        },
    }


def variables_of_directors(
    home: Home, listen: ListenAddress, ports: Ports, settings: Sections, environ: Mapping[str, str]
) -> Mapping[str, Mapping[str, str]]:
    """What tells the Directors beside the first one, by their names, apart from it; they share everything else.

    Raises `Stopped` (USAGE) where they could not share it, because it is not on PostgreSQL.
    """
    names = more_directors(len(ports.directors))
    if names:
        _check_shared(settings, environ)
    metrics = _director_setting("metrics_listen", settings, environ)
    return {
        name: {
            "MOORAGE_DIRECTOR_LISTEN": at(listen, port),
            "MOORAGE_DIRECTOR_INSTANCE_ID": name,
            "MOORAGE_DIRECTOR_IDENTITY": str(home.identity(name)),
            "MOORAGE_DIRECTOR_REVOCATIONS_CACHE": str(home.service("director") / f"revocations-{number}"),
            "MOORAGE_DIRECTOR_METRICS_LISTEN": _counted_up(metrics, number - 1),
        }
        for number, (name, port) in enumerate(zip(names, ports.more_directors, strict=True), 2)
    }


def _check_shared(settings: Sections, environ: Mapping[str, str]) -> None:
    for key in ("database", "dbos_database"):
        if not _director_setting(key, settings, environ).startswith("postgresql"):
            raise Stopped(
                Exit.USAGE,
                f"several Directors share a PostgreSQL, and {key} of [director] names none: set database and "
                "dbos_database there, as postgresql:// URLs of two databases, in a TOML file that --config names",
            )


def _director_setting(key: str, settings: Sections, environ: Mapping[str, str]) -> str:
    return environ.get(f"MOORAGE_DIRECTOR_{key}".upper(), str(settings["director"].get(key, "")))


def _counted_up(address: str, by: int) -> str:
    """The address with another port: two cannot listen on one. What is no address, or nowhere, stays as it is."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + by}" if port.isdecimal() else address


def read_overrides(file: Path | None) -> Sections:
    """The sections of a TOML file; none where no file is named. Raises `Stopped` (USAGE)."""
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise Stopped(Exit.USAGE, f"--config {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Stopped(Exit.USAGE, f"--config {file} is not TOML: {error}") from error
    for name, section in content.items():
        if not isinstance(section, dict):
            raise Stopped(Exit.USAGE, f"--config {file}: {name} stands outside of any section, such as [director]")
        for key, value in section.items():
            if not isinstance(value, str | int | float | bool | list):
                raise Stopped(Exit.USAGE, f"--config {file}: [{name}] {key} is of no kind that a setting can be")
    return content


def merged(settings: Sections, overrides: Sections) -> Sections:
    """`settings` with each key of `overrides` in its place."""
    names = [*settings, *(name for name in overrides if name not in settings)]
    return {name: {**settings.get(name, {}), **overrides.get(name, {})} for name in names}


def write_settings(file: Path, settings: Sections) -> None:
    """Write the TOML file at once, readable by this user alone."""
    parts = [_HEADER]
    for name, section in settings.items():
        lines = [f"{_key(key)} = {_literal(value)}\n" for key, value in section.items()]
        parts.append(f"\n[{_key(name)}]\n{''.join(lines)}")
    files.replace(file, "".join(parts).encode(), files.PRIVATE)


def ports_in(file: Path) -> Ports | None:
    """The ports that the settings file of an earlier start names; None where there is none such."""
    try:
        sections = tomllib.loads(file.read_text())
        first = {name: _port(str(sections[section][key])) for name, (section, key) in _LISTENERS.items()}
        _, *more = str(sections["connector"]["director_address"]).split(",")
        return Ports(**first, more_directors=tuple(_port(each) for each in more))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, ValueError, TypeError):
        return None


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _sqlite(file: Path) -> str:
    return f"sqlite:///{file}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _literal(name)


def _literal(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_literal(each) for each in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A TOML basic string escapes as JSON does, save that DEL must be escaped too (TOML 1.0, String).
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)

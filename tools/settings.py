"""examples/moorage_full.toml: every setting of the services and the agent, out of their dataclasses.

What must be set has a value; every other setting stands there with its default, switched off by `#` without a space.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from textwrap import wrap
from typing import Any

from agent.settings import AgentSettings
from connector.settings import ConnectorSettings
from director.settings import DirectorSettings
from provisioner.settings import ProvisionerSettings

SECTIONS: Mapping[str, type[Any]] = {
    "director": DirectorSettings,
    "connector": ConnectorSettings,
    "provisioner": ProvisionerSettings,
    "agent": AgentSettings,
}

_STATE = "/var/lib/moorage"

# Values for what has no default, or none that a file could hold.
_EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "director": {
        "identity": f"{_STATE}/director/identity",
        "database": f"sqlite:///{_STATE}/director/director.sqlite",
        "dbos_database": f"sqlite:///{_STATE}/director/dbos.sqlite",
        "sealing_key": f"{_STATE}/director/sealing.key",
        "revocations_cache": f"{_STATE}/director/revocations",
    },
    "connector": {
        "identity": f"{_STATE}/connector/identity",
        "issuing_authority": f"{_STATE}/connector/authority/issuing",
        "database": f"sqlite:///{_STATE}/connector/connector.sqlite",
        "passphrase_file": "/etc/moorage/passphrase",
        "revocations_cache": f"{_STATE}/connector/revocations",
    },
    "provisioner": {
        "identity": f"{_STATE}/provisioner/identity",
        "database": f"sqlite:///{_STATE}/provisioner/provisioner.sqlite",
        "dbos_database": f"sqlite:///{_STATE}/provisioner/dbos.sqlite",
        "runtimes": f"{_STATE}/provisioner/runtimes",
        "revocations_cache": f"{_STATE}/provisioner/revocations",
    },
    "agent": {"home": f"{_STATE}/agent", "token_file": f"{_STATE}/agent/token"},
}

_HEADER = """\
# Every setting there is, with what it is for. Written by `make reference` from the settings.py of each service.
#
# A section belongs to one service, which reads no other; put together in one file or apart, as you like. What is
# switched off by a # is the default. MOORAGE_<SECTION>_<FIELD>, such as MOORAGE_DIRECTOR_LISTEN, stands above the
# file. Times are in seconds, addresses are host:port where nothing else is said. moorage.toml beside this file is a
# short one to begin with.
"""


def settings_file() -> str:
    """The text of the file."""
    return _HEADER + "".join(_section(name, shape) for name, shape in SECTIONS.items())


def _section(name: str, shape: type[Any]) -> str:
    comments = dict(_comments(shape))
    options = (_option(name, each, comments[each.name]) for each in fields(shape))
    return f"\n\n[{name}]\n" + "\n".join(options)


def _option(section: str, field: Field[Any], comment: str) -> str:
    lines = [f"# {line}" for line in wrap(comment, 118, break_on_hyphens=False)]
    if field.default is MISSING:
        lines.append(f"{field.name} = {_literal(_EXAMPLES[section][field.name])}")
    else:
        value = _EXAMPLES[section][field.name] if field.default is None else field.default
        lines.append(f"#{field.name} = {_literal(value)}")
    return "\n".join(lines) + "\n"


def _comments(shape: type[Any]) -> Iterator[tuple[str, str]]:
    """Each field with the docstring under it, which only the source has."""
    (definition,) = ast.parse(inspect.getsource(shape)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - it is a class's source
    for field, docstring in zip(definition.body, definition.body[1:], strict=False):
        match field, docstring:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.replace("`", "").split())


def _literal(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple():
            return f"[{', '.join(_literal(each) for each in value)}]"
        case str() | Path():
            return json.dumps(str(value))
    raise TypeError(f"no TOML for a setting of type {type(value).__name__}")

"""Settings: frozen dataclasses, filled from a section of a TOML file and from `MOORAGE_<SECTION>_<FIELD>` variables.

A variable goes before the file, the file before the field's default. Secrets come by file path only.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec

Settings = TypeVar("Settings")


class SettingsRefused(Exception):
    """The settings cannot be used; the message says which one, where it came from and what it should be."""


def load_settings(
    shape: type[Settings], section: str, file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Fill the dataclass `shape` from `[section]` of `file` and from `environ`; raises `SettingsRefused`.

    Fields are str, int, float (seconds, where a duration), bool, Path, or tuple[str, ...], which a variable gives as
    words separated by commas. Sections of other parties are passed over; an unknown name in one's own is refused.
    """
    names = {each.name for each in fields(shape)}  # type: ignore[arg-type]  # TypeVar cannot say "a dataclass"
    values = _from_file(section, file, names) | _from_environ(shape, section, environ or {})
    required = {
        each.name
        for each in fields(shape)  # type: ignore[arg-type]  # as above
        if each.default is MISSING and each.default_factory is MISSING
    }
    if missing := sorted(required - values.keys()):
        variables = ", ".join(_variable(section, name) for name in missing)
        raise SettingsRefused(f"[{section}] lacks {', '.join(missing)}: set it in the settings file, or by {variables}")
    try:
        return msgspec.convert(values, shape, strict=False, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise SettingsRefused(f"[{section}]: {error}") from error


def _from_file(section: str, file: Path | None, names: set[str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsRefused(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"{file} is not TOML: {error}") from error
    values = content.get(section, {})
    if not isinstance(values, dict):
        raise SettingsRefused(f"{file}: {section} is not a section")
    if unknown := sorted(values.keys() - names):
        raise SettingsRefused(f"{file}: [{section}] knows no {', '.join(unknown)}; it takes {', '.join(sorted(names))}")
    return values


def _from_environ(shape: type[Any], section: str, environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(shape):
        value = environ.get(_variable(section, each.name))
        if value is not None:
            listed = str(each.type).startswith("tuple")
            values[each.name] = [word for word in value.split(",") if word] if listed else value
    return values


def _variable(section: str, name: str) -> str:
    return f"MOORAGE_{section}_{name}".upper()


def _convert(shape: type[Any], value: Any) -> Any:
    if shape is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise TypeError(f"a setting cannot be a {shape.__name__}")

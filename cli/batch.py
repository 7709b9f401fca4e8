"""Changes of many groups' members, as a file tells them: a list in YAML or JSON."""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cli import references
from cli.connection import Connection
from cli.options import read_file
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from moorage.director.v1.group_pb2 import GroupMembersChange


@dataclass(frozen=True)
class Change:
    """What is to change in one group; everything is named by name or id."""

    group: str
    add_applications: Sequence[str] = ()
    remove_applications: Sequence[str] = ()
    add_runtimes: Sequence[str] = ()
    remove_runtimes: Sequence[str] = ()
    etag: str = ""


def read(file: Path) -> list[Change]:
    """The changes in `file`. Raises `Stopped` (BAD_INPUT) for what is no list of changes."""
    entries = _parsed(file, read_file(file, "file"))
    if not isinstance(entries, list) or not entries:
        raise _refused(file, "it is no list of changes")
    return [_change(file, position, entry) for position, entry in enumerate(entries, 1)]


async def resolved(plane: Connection, changes: Sequence[Change]) -> "list[GroupMembersChange]":
    """The changes as the contract has them; each name is looked up once. Raises `Stopped` (NOT_FOUND) for another."""
    from moorage.director.v1.group_pb2 import GroupMembersChange

    groups, applications, runtimes = (
        _Lookup(plane, find) for find in (references.group_id, references.application_id, references.runtime_id)
    )
    return [
        GroupMembersChange(
            group_id=await groups.id(change.group),
            etag=change.etag,
            add_application_ids=await applications.ids(change.add_applications),
            remove_application_ids=await applications.ids(change.remove_applications),
            add_runtime_ids=await runtimes.ids(change.add_runtimes),
            remove_runtime_ids=await runtimes.ids(change.remove_runtimes),
        )
        for change in changes
    ]


Find: TypeAlias = Callable[[Connection, str], Coroutine[object, object, str]]


class _Lookup:
    """Ids of one kind, each found once."""

    def __init__(self, plane: Connection, find: Find) -> None:
        self._plane = plane
        self._find = find
        self._found: dict[str, str] = {}

    async def id(self, reference: str) -> str:
        if reference not in self._found:
            self._found[reference] = await self._find(self._plane, reference)
        return self._found[reference]

    async def ids(self, references: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([await self.id(reference) for reference in references]))


def _parsed(file: Path, content: str) -> object:
    import yaml

    with suppress(ValueError, RecursionError):  # YAML has no tabs before what it has, and JSON does
        return json.loads(content)
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise _refused(file, f"it is neither YAML nor JSON: {error}") from error


_FIELDS = {field.name for field in fields(Change)}
_TEXTS = {"group", "etag"}


def _change(file: Path, position: int, entry: object) -> Change:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("group"), str):
        raise _refused(file, f"entry {position} names no group")
    if unknown := sorted(str(key) for key in entry if key not in _FIELDS):
        raise _refused(file, f"entry {position} has {', '.join(unknown)}; it can have {', '.join(sorted(_FIELDS))}")
    for key, value in entry.items():
        if key in _TEXTS and not isinstance(value, str):
            raise _refused(file, f"{key} of entry {position} is no text")
        if key not in _TEXTS and not _is_names(value):
            raise _refused(file, f"{key} of entry {position} is no list of names")
    return Change(**entry)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _refused(file: Path, why: str) -> Stopped:
    return Stopped(Exit.BAD_INPUT, f"the file {file} cannot be used: {why}")

"""A registry of a given size, put into a Director's database while no Director runs."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from moorage.director.v1.application_pb2 import ApplicationState
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from sqlalchemy import Connection, Engine, Table, insert, update

from director.store import tables

_BATCH = 5000
_NOW = 1_700_000_000_000_000


@dataclass(frozen=True)
class Size:
    """How much there is. An application has `apis / applications` APIs; groups have their share of both kinds."""

    applications: int
    apis: int
    groups: int
    runtimes: int

    def __str__(self) -> str:
        return f"{self.applications:,} applications"

    @property
    def scale(self) -> int:
        """How many times the applications of a hundred there are."""
        return self.applications // 100


LARGE = Size(applications=10_000, apis=100_000, groups=1_000, runtimes=2_000)
SMALL = Size(applications=100, apis=1_000, groups=10, runtimes=20)


def application_id(number: int) -> str:
    """The id of one of the applications."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"application {number}"))


def api_id(number: int) -> str:
    """The id of one of the APIs; the application of the same number has it, where there is one."""
    return _id("api", number)


def runtime_id(number: int) -> str:
    """The id of one of the Runtimes."""
    return _id("runtime", number)


def seed(engine: Engine, size: Size) -> None:
    """Fill the tables of a new registry, as one revision."""
    with engine.begin() as tx:
        for table, rows in (
            (tables.applications, _applications(size)),
            (tables.application_labels, _labels(size)),
            (tables.apis, _apis(size)),
            (tables.groups, _groups(size)),
            (tables.runtimes, _runtimes(size)),
            (tables.group_applications, _members(size, "application_id", size.applications)),
            (tables.group_runtimes, _members(size, "runtime_id", size.runtimes)),
        ):
            _insert(tx, table, rows)
        counts = {"applications": size.applications, "groups": size.groups, "runtimes": size.runtimes}
        tx.execute(update(tables.plane).values(revision=1, **counts))


def _insert(tx: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(rows, _BATCH)):
        tx.execute(insert(table), batch)


def _id(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {number}"))


def _stamps() -> dict[str, int]:
    return {"create_time": _NOW, "update_time": _NOW, "revision": 1}


def _tier(number: int) -> str:
    """A label value that as many applications have, however many there are: fifty."""
    return f"t{number // 50}"


def _applications(size: Size) -> Iterator[dict[str, Any]]:
    for number in range(size.applications):
        yield {
            "application_id": application_id(number),
            "name": f"application-{number:05d}",
            "description": "An application to read.",
            "labels": json.dumps({"tier": _tier(number)}),
            "state": ApplicationState.APPLICATION_STATE_INITIAL,
            "state_time": _NOW,
            "configuration_revision": 1,
            **_stamps(),
        }


def _labels(size: Size) -> Iterator[dict[str, Any]]:
    for number in range(size.applications):
        yield {"application_id": application_id(number), "key": "tier", "value": _tier(number)}


def _apis(size: Size) -> Iterator[dict[str, Any]]:
    for number in range(size.apis):
        yield {
            "api_id": api_id(number),
            "application_id": application_id(number % size.applications),
            "name": f"api-{number:06d}",
            "description": "",
            "target_url": "https://api.test/",
            **_stamps(),
        }


def _groups(size: Size) -> Iterator[dict[str, Any]]:
    for number in range(size.groups):
        yield {"group_id": _id("group", number), "name": f"group-{number:04d}", "description": "", **_stamps()}


def _runtimes(size: Size) -> Iterator[dict[str, Any]]:
    for number in range(size.runtimes):
        yield {
            "runtime_id": runtime_id(number),
            "name": f"runtime-{number:04d}",
            "description": "",
            "event_url": "https://runtime.test/",
            "state": RuntimeState.RUNTIME_STATE_PENDING,
            **_stamps(),
        }


def _members(size: Size, column: str, count: int) -> Iterator[dict[str, Any]]:
    kind = column.removesuffix("_id")
    for number in range(count):
        yield {"group_id": _id("group", number % size.groups), column: _id(kind, number), "added_revision": 1}

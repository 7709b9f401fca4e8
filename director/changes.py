"""The change log: what one unit of work changed, under one revision.

Every mutation of the registry holds the plane's row from its beginning to its commit, so revisions are given
in commit order and without gaps, and a mutation reads nothing that another one is about to change.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from director.store import Transaction
from director.store import changes as store
from director.store.changes import PlaneRow, read_plane
from director.times import to_micros

__all__ = ["Action", "Change", "Kind", "Mutation", "PlaneRow", "read_plane", "read_since"]


class Action(StrEnum):
    """What was done to a thing."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    ADD = "ADD"
    REMOVE = "REMOVE"


class Kind(StrEnum):
    """What kind of thing was changed.

    `MEMBER` is an Application or a Runtime of a group: ADD and REMOVE, with `group_id` and one of `application_id` and
    `runtime_id`. Members that leave because they, or the group, were deleted have their REMOVE too.
    """

    APPLICATION = "APPLICATION"
    API = "API"
    EVENT_API = "EVENT_API"
    GROUP = "GROUP"
    MEMBER = "MEMBER"
    RUNTIME = "RUNTIME"
    WEBHOOK = "WEBHOOK"
    BUNDLE = "BUNDLE"
    DOCUMENT = "DOCUMENT"
    CREDENTIAL = "CREDENTIAL"
    ACCESS_REQUEST = "ACCESS_REQUEST"
    LABEL_DEFINITION = "LABEL_DEFINITION"


class Change(NamedTuple):
    """One row of the log. The last three name those whose configuration it touches, where it does."""

    revision: int
    action: Action
    kind: Kind
    resource_id: str
    application_id: str | None
    group_id: str | None
    runtime_id: str | None


class Mutation:
    """One unit of work upon the registry: the revision it will have, and what it changed.

    `time` is when it happens, `micros` the same as the tables keep it, `actor` the caller's SPIFFE ID; `new_id()` gives
    the UUID of a new resource. `revision` is the one that this mutation takes if it records anything; if it does not,
    the next mutation takes it.
    """

    def __init__(self, tx: Transaction, time: datetime, actor: str, request_id: str, new_id: Callable[[], str]) -> None:
        self.time = time
        self.micros = to_micros(time)
        self.actor = actor
        self.request_id = request_id
        self.new_id = new_id
        self.plane = store.lock_plane(tx)
        self.revision = self.plane.revision + 1
        self.concerns: list[tuple[Collection[str], Collection[str]]] = []
        """Applications, by their ids, and those Runtimes of theirs that came, went or altered: they hear of it."""
        self._tx = tx
        self._rows: list[dict[str, Any]] = []

    def record(
        self,
        action: Action,
        kind: Kind,
        resource_id: str,
        *,
        application_id: str | None = None,
        group_id: str | None = None,
        runtime_id: str | None = None,
    ) -> None:
        """Note one change. It is written by `finish`."""
        self._rows.append(
            {
                "time": self.micros,
                "actor": self.actor,
                "request_id": self.request_id,
                "action": action.value,
                "kind": kind.value,
                "resource_id": resource_id,
                "application_id": application_id,
                "group_id": group_id,
                "runtime_id": runtime_id,
            }
        )

    def finish(self) -> bool:
        """Write what was recorded, as the last act of the unit of work; says whether there was anything."""
        if self._rows:
            store.append(self._tx, self.revision, self._rows)
        return bool(self._rows)


def read_since(tx: Transaction, revision: int, until: int | None = None) -> list[Change]:
    """The changes after `revision`, up to and with `until`, in the order of the log."""
    return [
        Change(
            row["revision"],
            Action(row["action"]),
            Kind(row["kind"]),
            row["resource_id"],
            row["application_id"],
            row["group_id"],
            row["runtime_id"],
        )
        for row in store.read_after(tx, revision, until)
    ]

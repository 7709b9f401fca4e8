"""What one round of reading gives to the streams of Applications: all in one transaction, at one revision."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from director.changes import Change, Kind, read_plane, read_since
from director.store import Transaction, serving
from director.store.serving import Served

State = Mapping[str, Served]
"""The Runtimes that an Application serves, by their ids."""


@dataclass(frozen=True)
class View:
    """What an Application sees. Never changed once made."""

    served: State
    chosen: str
    """The Runtime that was chosen for its events; may be empty."""


@dataclass(frozen=True)
class Round:
    """The views that are new or touched at `revision`; None for an Application that is not in the registry."""

    revision: int
    views: Mapping[str, View | None]


def read_round(tx: Transaction, watched: Mapping[str, View], arriving: Collection[str], since: int | None) -> Round:
    """Read the views of those who arrive, and of the `watched` those that the changes after `since` touch.

    A change of some Runtimes costs as many rows as there are Applications, among the watched, that serve them; an
    Application whose own memberships changed is read whole, and so is each where the log no longer goes back to
    `since`.
    """
    plane = read_plane(tx)
    revision = plane.revision
    touched = _Touched()
    if since is not None and since < plane.horizon:
        touched.applications.update(watched)
    elif since is not None and since != revision:
        touched = _Touched.by(read_since(tx, since, revision))
    whole = (touched.applications & watched.keys()).union(arriving)
    partly = (serving.read_serving(tx, touched.runtimes, touched.groups) & watched.keys()) - whole
    chosen = serving.read_chosen(tx, whole | partly)
    states: dict[str, dict[str, Served]] = {id: {} for id in whole}
    for id in partly:
        states[id] = {key: value for key, value in watched[id].served.items() if key not in touched.runtimes}
    for id, served in serving.read_all(tx, whole):
        states[id][served.runtime_id] = served
    for id, served in serving.read_some(tx, partly, touched.runtimes):
        states[id][served.runtime_id] = served
    return Round(revision, {id: View(states[id], chosen[id]) if id in chosen else None for id in states})


class _Touched:
    """Whom changes concern. A Runtime that came into a group, or left it, concerns the Applications of that group."""

    def __init__(self) -> None:
        self.applications: set[str] = set()
        self.runtimes: set[str] = set()
        self.groups: set[str] = set()

    @classmethod
    def by(cls, changes: Collection[Change]) -> "_Touched":
        touched = cls()
        for change in changes:
            if change.kind is Kind.APPLICATION or (change.kind is Kind.MEMBER and change.application_id):
                touched.applications.add(change.application_id or change.resource_id)
            elif change.runtime_id and change.kind in (Kind.RUNTIME, Kind.MEMBER):
                touched.runtimes.add(change.runtime_id)
                if change.group_id:
                    touched.groups.add(change.group_id)
        return touched

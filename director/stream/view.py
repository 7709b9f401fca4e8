"""What is streamed now: applications, the groups they are in, and the views that the groups add up to.

A view is a distinct set of groups; the Runtimes that are in exactly these groups share it. Its `State` is immutable, so
whoever holds one can tell later what has changed since.
"""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mesh.configuration import content_sha256


@dataclass(frozen=True, slots=True)
class Entry:
    """One Application as the Runtimes see it."""

    application_id: str
    revision: int
    """The last revision that changed it."""
    content: bytes = field(repr=False)
    """Canonical serialisation of its `ApplicationConfiguration`."""
    digest: bytes = field(repr=False)
    """SHA-256 of `content`."""


@dataclass(frozen=True)
class Difference:
    """What leads from one state to another."""

    changed: tuple[Entry, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


class State:
    """The whole configuration of a view, by `application_id` in order. Never changed once made."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries

    @cached_property
    def content_sha256(self) -> str:
        """The content hash of `mesh.configuration`."""
        return content_sha256({key: entry.digest for key, entry in self.entries.items()})

    def since(self, earlier: "State") -> Difference:
        """What somebody who holds `earlier` lacks."""
        held = earlier.entries
        return Difference(
            tuple(new for key, new in self.entries.items() if (old := held.get(key)) is not new and _differ(old, new)),
            tuple(key for key in held if key not in self.entries),
        )

    def since_revision(self, revision: int, held: Iterable[str]) -> Difference:
        """What somebody lacks who held the applications `held` as they were at `revision`."""
        earlier = set(held)
        return Difference(
            tuple(entry for key, entry in self.entries.items() if entry.revision > revision or key not in earlier),
            tuple(sorted(earlier - self.entries.keys())),
        )


class Position:
    """A state, and a revision of the plane at which it held."""

    def __init__(self, revision: int, state: State) -> None:
        self.revision = revision
        self.state = state
        self.deltas: weakref.WeakKeyDictionary[State, tuple[bytes, ...]] = weakref.WeakKeyDictionary()
        """What leads here, encoded, by the state it starts from: for as long as a reader still holds that one."""


class View:
    """One distinct set of groups, and what it shows now."""

    def __init__(self, group_ids: frozenset[str]) -> None:
        self.group_ids = group_ids
        self.runtime_ids: set[str] = set()
        self.position = Position(0, State({}))

    def move(self, revision: int) -> None:
        """Have a position at `revision`, with the state as it is."""
        if self.position.revision != revision:
            self.position = Position(revision, self.position.state)


class Views:
    """All that is streamed now.

    It is changed between two readings of the log, never during one: first `remove`, `place` and `update` in any order,
    then `settle`. An Application is kept while a group has it, a group while a view has it, and a view while a Runtime
    is streamed it; what is no longer kept goes with `settle`, so that what one Runtime leaves another can take up.
    """

    def __init__(self) -> None:
        self.applications: dict[str, Entry] = {}
        self.groups: dict[str, frozenset[str]] = {}
        self.runtimes: dict[str, View] = {}
        self._views: dict[frozenset[str], View] = {}
        self._views_of_group: dict[str, set[View]] = {}
        self._groups_of_application: dict[str, set[str]] = {}
        self._touched: set[View] = set()
        self._left: set[View] = set()
        self._orphans: set[str] = set()

    def place(self, runtime_id: str, group_ids: frozenset[str]) -> bool:
        """Have a Runtime see what these groups offer; says whether it saw others, or nothing, before."""
        view = self._views.get(group_ids)
        if view is None:
            view = self._views[group_ids] = View(group_ids)
            self._touched.add(view)
            for group_id in group_ids:
                self._views_of_group.setdefault(group_id, set()).add(view)
        if self.runtimes.get(runtime_id) is view:
            return False
        self.remove(runtime_id)
        self.runtimes[runtime_id] = view
        view.runtime_ids.add(runtime_id)
        return True

    def remove(self, runtime_id: str) -> None:
        """Stream a Runtime nothing more."""
        view = self.runtimes.pop(runtime_id, None)
        if view is not None:
            view.runtime_ids.remove(runtime_id)
            self._left.add(view)

    def update(self, groups: Mapping[str, frozenset[str]], applications: Mapping[str, Entry | None]) -> None:
        """Take in members by group, and Applications by id (None: gone). Those that no view has are passed over."""
        for group_id, members in groups.items():
            if group_id in self._views_of_group and self.groups.get(group_id) != members:
                self._set_members(group_id, members)
                self._touched |= self._views_of_group[group_id]
        for application_id, entry in applications.items():
            if application_id not in self._groups_of_application:
                continue
            if entry is not None:
                self.applications[application_id] = entry
            else:
                self.applications.pop(application_id, None)
            for group_id in self._groups_of_application[application_id]:
                self._touched |= self._views_of_group[group_id]

    def settle(self, revision: int) -> set[View]:
        """Let go of what nobody is streamed, and give the views that now, at `revision`, show another state."""
        for view in self._left:
            if not view.runtime_ids:
                self._drop(view)
        self._left.clear()
        for application_id in self._orphans - self._groups_of_application.keys():
            self.applications.pop(application_id, None)
        self._orphans.clear()
        changed = {view for view in self._touched if view.runtime_ids}
        self._touched.clear()
        for view in changed:
            view.position = Position(revision, self._state_of(view))
        return changed

    def _state_of(self, view: View) -> State:
        """What the groups of a view add up to."""
        ids = frozenset[str]().union(*(self.groups[group_id] for group_id in view.group_ids))
        before = view.position.state.entries
        ordered = before if before.keys() == ids else sorted(ids)  # sorting costs more than the rest
        return State({key: self.applications[key] for key in ordered if key in self.applications})

    def _drop(self, view: View) -> None:
        del self._views[view.group_ids]
        for group_id in view.group_ids:
            views = self._views_of_group[group_id]
            views.remove(view)
            if not views:
                self._set_members(group_id, frozenset())
                del self._views_of_group[group_id], self.groups[group_id]

    def _set_members(self, group_id: str, members: frozenset[str]) -> None:
        before = self.groups.get(group_id, frozenset())
        for application_id in members - before:
            self._groups_of_application.setdefault(application_id, set()).add(group_id)
        for application_id in before - members:
            groups = self._groups_of_application[application_id]
            groups.remove(group_id)
            if not groups:
                del self._groups_of_application[application_id]
                self._orphans.add(application_id)
        self.groups[group_id] = members


def _differ(old: Entry | None, new: Entry) -> bool:
    return old is None or old.digest != new.digest

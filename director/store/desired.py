"""The queries that say up to which revision a Runtime has something to run."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BindParameter, Connection, bindparam, select

from director.store.tables import applications, changes, group_applications, group_runtimes
from mesh.database import OneOf, Prepared

_MOST_IDS = 500
"""Ids in one query."""

T = TypeVar("T")


class Desired(NamedTuple):
    """The last revision that changed what a Runtime is to run, 0 where nothing ever did.

    `time` is when that was committed, in microseconds; None where the change log no longer reaches it.
    """

    revision: int
    time: int | None


def read_desired(tx: Connection, runtime_id: str) -> Desired:
    """What one Runtime is to run."""
    revision = desired_revision(tx, runtime_id)
    return Desired(revision, _times(tx, {revision}).get(revision))


def read_all_desired(tx: Connection, runtime_ids: Collection[str]) -> dict[str, Desired]:
    """What each of these Runtimes is to run.

    Those that are in one group, or in groups that have no Application in common, cost as much as their memberships; it
    is for the others that each Application is looked at.
    """
    memberships: defaultdict[str, list[_Membership]] = defaultdict(list)
    for some in _batches(runtime_ids):
        for row in _GROUPS.all(tx, {"ids": some}):
            memberships[row["runtime_id"]].append(_Membership(row["group_id"], row["added"], row["removed"]))
    offers = _Offers(tx, {each.group_id for spans in memberships.values() for each in spans})
    revisions = {id: offers.last_change(memberships[id]) if id in memberships else 0 for id in runtime_ids}
    times = _times(tx, set(revisions.values()))
    return {id: Desired(revision, times.get(revision)) for id, revision in revisions.items()}


def read_runtimes_in(tx: Connection, group_ids: Collection[str], application_ids: Collection[str]) -> set[str]:
    """The Runtimes that are in any of these groups, or in any group that one of these Applications is in."""
    groups = set(group_ids)
    for some in _batches(application_ids):
        groups.update(row["group_id"] for row in _GROUPS_OF.all(tx, {"ids": some}))
    return {row["runtime_id"] for some in _batches(groups) for row in _MEMBERS.all(tx, {"ids": some})}


def desired_revision(tx: Connection, runtime_id: str) -> int:
    """The last revision that changed what a Runtime is to run; 0 where nothing ever did.

    That is when it was last given an Application, when one that it has changed, or when it lost one. An Application
    that comes by two groups comes with the first of them and goes with the last.
    """
    served: defaultdict[str, list[_Served]] = defaultdict(list)
    for row in tx.execute(_MEMBERSHIPS, {"runtime_id": runtime_id}):
        span = _together(row)
        if span.end is None or span.begin < span.end:
            served[row.application_id].append(span)
    return max((_last_change(spans) for spans in served.values()), default=0)


class _Served(NamedTuple):
    """For how long one group gave the Runtime an Application, and the last revision that changed the Application."""

    begin: int
    end: int | None
    configuration: int


def _together(row: Any) -> _Served:
    ends = [end for end in (row.removed, row.application_removed) if end is not None]
    return _Served(max(row.added, row.application_added), min(ends) if ends else None, row.configuration_revision or 0)


def _last_change(spans: list[_Served]) -> int:
    """The revision at which the Application came, changed or went, whichever was last."""
    spans.sort(key=lambda span: span.begin)
    begin, end = spans[0].begin, spans[0].end
    for span in spans[1:]:
        if end is None:
            break
        if span.begin > end:
            begin, end = span.begin, span.end
        else:
            end = None if span.end is None else max(end, span.end)
    return max(begin, spans[0].configuration) if end is None else end


class _Membership(NamedTuple):
    """That a Runtime is, or was, in a group."""

    group_id: str
    added: int
    removed: int | None


class _Offer(NamedTuple):
    """That an Application is, or was, in a group, and the last revision that changed it."""

    application_id: str
    added: int
    removed: int | None
    configuration: int


class _Offers:
    """What groups have and had, to find out of many Runtimes what they are to run."""

    def __init__(self, tx: Connection, group_ids: Collection[str]) -> None:
        self._of: defaultdict[str, list[_Offer]] = defaultdict(list)
        for some in _batches(group_ids):
            for row in _OFFERED.all(tx, {"ids": some}):
                configuration = row["configuration_revision"] or 0
                offer = _Offer(row["application_id"], row["added"], row["removed"], configuration)
                self._of[row["group_id"]].append(offer)
        self._sums = {group_id: _Sum.of(offers) for group_id, offers in self._of.items()}
        self._apart: dict[frozenset[str], bool] = {}

    def last_change(self, memberships: list[_Membership]) -> int:
        """The last revision that changed what a Runtime with all these memberships is to run."""
        group_ids = frozenset(each.group_id for each in memberships)
        if len(group_ids) == len(memberships) and all(each.removed is None for each in memberships):
            sums = [self._sums[each.group_id] for each in memberships if each.group_id in self._sums]
            if all(each.is_plain for each in sums) and self._are_apart(group_ids):
                added = {each.group_id: each.added for each in memberships}
                return max((self._sums[id].since(added[id]) for id in group_ids if id in self._sums), default=0)
        return self._last_change_of_each(memberships)

    def _last_change_of_each(self, memberships: list[_Membership]) -> int:
        served: defaultdict[str, list[_Served]] = defaultdict(list)
        for membership in memberships:
            for offer in self._of.get(membership.group_id, ()):
                ends = [end for end in (membership.removed, offer.removed) if end is not None]
                begin, end = max(membership.added, offer.added), min(ends) if ends else None
                if end is None or begin < end:
                    served[offer.application_id].append(_Served(begin, end, offer.configuration))
        return max((_last_change(spans) for spans in served.values()), default=0)

    def _are_apart(self, group_ids: frozenset[str]) -> bool:
        """Whether no Application is, or was, in more than one of the groups."""
        if len(group_ids) < 2:
            return True
        apart = self._apart.get(group_ids)
        if apart is None:
            had = [{offer.application_id for offer in self._of.get(id, ())} for id in group_ids]
            apart = self._apart[group_ids] = sum(map(len, had)) == len(set[str]().union(*had))
        return apart


class _Sum(NamedTuple):
    """What all Applications of a group come to."""

    has_any: bool
    """Whether any is in it now."""

    last: int
    """The last revision at which one that is in it now came, or was changed."""

    removed: int
    """The last revision at which one left it."""

    is_plain: bool
    """Whether none came back in the very change that took it away."""

    @classmethod
    def of(cls, offers: Collection[_Offer]) -> "_Sum":
        living = [max(each.added, each.configuration) for each in offers if each.removed is None]
        removed = [each.removed for each in offers if each.removed is not None and each.added < each.removed]
        came = {(each.application_id, each.added) for each in offers}
        is_plain = not any((each.application_id, each.removed) in came for each in offers)
        return cls(bool(living), max(living, default=0), max(removed, default=0), is_plain)

    def since(self, added: int) -> int:
        """The last change for a Runtime that is in the group since the revision `added`, and in no other."""
        removed = self.removed if self.removed > added else 0
        return max(added, self.last, removed) if self.has_any else removed


def _times(tx: Connection, revisions: set[int]) -> dict[int, int]:
    """When each of the revisions was committed, of those that the change log still has."""
    times: dict[int, int] = {}
    for some in _batches(revisions - {0}):
        times.update((row.revision, row.time) for row in tx.execute(_TIMES, {"revisions": some}))
    return times


def _batches(values: Collection[T]) -> Iterator[list[T]]:
    rest = iter(values)
    while some := list(islice(rest, _MOST_IDS)):
        yield some


_REVISIONS: BindParameter[Any] = bindparam("revisions", expanding=True)
_TIMES = select(changes.c.revision, changes.c.time).where(changes.c.revision.in_(_REVISIONS), changes.c.position == 0)
_GROUPS = Prepared(
    select(
        group_runtimes.c.runtime_id,
        group_runtimes.c.group_id,
        group_runtimes.c.added_revision.label("added"),
        group_runtimes.c.removed_revision.label("removed"),
    ).where(OneOf(group_runtimes.c.runtime_id, "ids"))
)
_OFFERED = Prepared(
    select(
        group_applications.c.group_id,
        group_applications.c.application_id,
        group_applications.c.added_revision.label("added"),
        group_applications.c.removed_revision.label("removed"),
        applications.c.configuration_revision,
    )
    .outerjoin(applications, applications.c.application_id == group_applications.c.application_id)
    .where(OneOf(group_applications.c.group_id, "ids"))
)
_GROUPS_OF = Prepared(select(group_applications.c.group_id).where(OneOf(group_applications.c.application_id, "ids")))
_MEMBERS = Prepared(select(group_runtimes.c.runtime_id).where(OneOf(group_runtimes.c.group_id, "ids")))
_MEMBERSHIPS = (
    select(
        group_applications.c.application_id,
        group_runtimes.c.added_revision.label("added"),
        group_runtimes.c.removed_revision.label("removed"),
        group_applications.c.added_revision.label("application_added"),
        group_applications.c.removed_revision.label("application_removed"),
        applications.c.configuration_revision,
    )
    .join(group_applications, group_applications.c.group_id == group_runtimes.c.group_id)
    .outerjoin(applications, applications.c.application_id == group_applications.c.application_id)
    .where(group_runtimes.c.runtime_id == bindparam("runtime_id"))
)

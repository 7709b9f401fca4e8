"""One reading of the change log: all that the streams need to move from one revision to the next.

It takes place in one snapshot of the database, so that everything in a `Reading` is as it was at `Reading.revision`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from moorage.director.v1.configuration_pb2 import ResetReason, ResumePoint

from director.changes import Action, Change, Kind, PlaneRow, read_plane, read_since
from director.store import Transaction
from director.store.views import (
    Span,
    read_applications_of_groups,
    read_configurations,
    read_groups_of_runtimes,
    read_living_runtimes,
)
from director.stream.view import Entry, Views
from mesh.configuration import application_sha256, canonical

_CONFIGURED = frozenset({Kind.APPLICATION, Kind.API, Kind.EVENT_API, Kind.BUNDLE})
_OF_RUNTIMES = frozenset({Kind.MEMBER, Kind.CREDENTIAL})


@dataclass(frozen=True)
class Arrival:
    """A reader that asks for the stream of a Runtime, and what it says that it holds."""

    runtime_id: str
    resume: ResumePoint | None
    credentials_revision: int = 0


@dataclass(frozen=True)
class Opening:
    """How an arrival's stream begins.

    Either with what changed since `revision`, when the reader held the Applications `held`; or, where `held` is None,
    with a snapshot, for which `reset` says why.
    """

    reset: ResetReason.ValueType = ResetReason.RESET_REASON_UNSPECIFIED
    revision: int = 0
    held: frozenset[str] | None = None


@dataclass
class Reading:
    """What was read. All ids are of things that are streamed, or that an arrival asks for."""

    plane_id: str
    revision: int
    runtimes: dict[str, frozenset[str] | None] = field(default_factory=dict)
    """Groups of the Runtimes that may have moved, and of those that arrive; None: not in the registry."""
    credentials: dict[str, int] = field(default_factory=dict)
    """The revision that last changed a credential of its own, of each of these Runtimes that is in the registry."""
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    """Applications of the groups that may have changed, and of those that nothing was known of."""
    applications: dict[str, Entry | None] = field(default_factory=dict)
    """The Applications that may have changed, and those that nothing was known of; None: not in the registry."""
    openings: list[Opening] = field(default_factory=list)
    """For each arrival, in their order."""


def read(tx: Transaction, views: Views, since: int | None, arrivals: Sequence[Arrival]) -> Reading:
    """Read what changed after `since` for `views`, and what the arrivals need. `since` is None for the first time.

    `views` is only looked at.
    """
    plane = read_plane(tx)
    reading = Reading(plane.plane_id, plane.revision)
    touched = _touched(tx, views, plane, since)

    runtime_ids = touched.runtimes | {each.runtime_id for each in arrivals}
    reading.credentials = read_living_runtimes(tx, runtime_ids)
    memberships = _by_member(read_groups_of_runtimes(tx, runtime_ids))
    for runtime_id in runtime_ids:
        groups = frozenset(span.group_id for span in memberships[runtime_id])
        reading.runtimes[runtime_id] = groups if runtime_id in reading.credentials else None

    wanted = frozenset[str]().union(*filter(None, reading.runtimes.values()))
    group_ids = touched.groups | (wanted - views.groups.keys())
    members = _by_group(read_applications_of_groups(tx, group_ids))
    reading.groups = {each: frozenset(span.member_id for span in members[each]) for each in group_ids}

    shown = frozenset[str]().union(*reading.groups.values())
    application_ids = touched.applications | (shown - views.applications.keys())
    reading.applications = dict.fromkeys(application_ids)
    for revision, application in read_configurations(tx, application_ids):
        entry = Entry(application.application_id, revision, canonical(application), application_sha256(application))
        reading.applications[application.application_id] = entry

    reading.openings = _openings(tx, plane, arrivals)
    return reading


@dataclass(frozen=True)
class _Touched:
    runtimes: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    applications: set[str] = field(default_factory=set)


def _touched(tx: Transaction, views: Views, plane: PlaneRow, since: int | None) -> _Touched:
    """What of that which is streamed the log names after `since`."""
    if since is None or since == plane.revision:
        return _Touched()
    if since < plane.horizon:  # the log no longer tells: everything may have changed
        return _Touched(set(views.runtimes), set(views.groups), set(views.applications))
    changes = read_since(tx, since)
    return _Touched(
        {each.runtime_id for each in changes if each.runtime_id in views.runtimes and _concerns(each)},
        {each.group_id for each in changes if each.group_id in views.groups and each.kind is Kind.MEMBER},
        {each.application_id for each in changes if each.application_id in views.applications and _is_shown(each)},
    )


def _concerns(change: Change) -> bool:
    """Whether a Runtime is to hear of a change of it: not of its name, nor of what its agent reports."""
    return change.kind in _OF_RUNTIMES or (change.kind is Kind.RUNTIME and change.action is Action.DELETE)


def _is_shown(change: Change) -> bool:
    """Whether Runtimes see a change of what an Application has: of its credentials, that a shared one changed."""
    return change.kind in _CONFIGURED or (change.kind is Kind.CREDENTIAL and change.runtime_id is None)


def _openings(tx: Transaction, plane: PlaneRow, arrivals: Sequence[Arrival]) -> list[Opening]:
    resets = [_reset(plane, each.resume) for each in arrivals]
    resumed = {
        (each.runtime_id, each.resume.revision)
        for each, reset in zip(arrivals, resets, strict=True)
        if each.resume is not None and not reset
    }
    held = _held(tx, resumed)
    return [
        Opening(reset=reset)
        if each.resume is None or reset
        else Opening(revision=each.resume.revision, held=held[each.runtime_id, each.resume.revision])
        for each, reset in zip(arrivals, resets, strict=True)
    ]


def _reset(plane: PlaneRow, resume: ResumePoint | None) -> ResetReason.ValueType:
    """Why a reader cannot resume, where it asks to and cannot."""
    if resume is None:
        return ResetReason.RESET_REASON_UNSPECIFIED
    if resume.plane_id != plane.plane_id or resume.revision > plane.revision:
        return ResetReason.RESET_REASON_FOREIGN
    if resume.revision < plane.horizon:
        return ResetReason.RESET_REASON_COMPACTED
    return ResetReason.RESET_REASON_UNSPECIFIED


def _held(tx: Transaction, points: set[tuple[str, int]]) -> dict[tuple[str, int], frozenset[str]]:
    """The Applications that each Runtime saw at its revision; those that saw the same share one set."""
    earliest = min((revision for _, revision in points), default=0)
    memberships = _by_member(read_groups_of_runtimes(tx, {runtime_id for runtime_id, _ in points}, earliest))
    groups = {
        (runtime_id, revision): frozenset(span.group_id for span in memberships[runtime_id] if span.holds_at(revision))
        for runtime_id, revision in points
    }
    group_ids = frozenset[str]().union(*groups.values())
    members = _by_group(read_applications_of_groups(tx, group_ids, earliest))

    @cache
    def seen(group_ids: frozenset[str], revision: int) -> frozenset[str]:
        spans = (span for group_id in group_ids for span in members[group_id])
        return frozenset(span.member_id for span in spans if span.holds_at(revision))

    return {(runtime_id, revision): seen(ids, revision) for (runtime_id, revision), ids in groups.items()}


def _by_member(spans: Iterable[Span]) -> defaultdict[str, list[Span]]:
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.member_id].append(span)
    return found


def _by_group(spans: Iterable[Span]) -> defaultdict[str, list[Span]]:
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.group_id].append(span)
    return found

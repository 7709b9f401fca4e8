"""The registry as plain dictionaries: what every mutation is to do, in the fewest words that say it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar

from moorage.director.v1.label_pb2 import LabelOperator, LabelRequirement, LabelSelector

KINDS = ("application", "runtime")
"""Who can be in a group."""

Pairs = frozenset[tuple[str, str, str]]
"""Memberships: the kind of the member, the id of the group, that of the member."""


class Refused(Exception):
    """The model does not take a request; `reasons` are all that speak against it."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = frozenset(reasons)


@dataclass
class Thing:
    """What Applications, Runtimes and Groups have in common."""

    FIELDS: ClassVar[tuple[str, ...]]
    """What clients set of it."""

    id: str
    name: str = ""
    description: str = ""
    revision: int = 0

    def set(self, sent: Any, paths: Iterable[str]) -> None:
        """Take these fields of a message."""
        for path in paths:
            value = getattr(sent, path)
            if path == "labels":
                value = dict(value)
            elif path.endswith("_selector"):
                value = deepcopy(value) if sent.HasField(path) else None
            setattr(self, path, value)

    def fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.FIELDS)


@dataclass
class Application(Thing):
    FIELDS = ("name", "description", "labels", "eventing_runtime_id")

    labels: dict[str, str] = field(default_factory=dict)
    eventing_runtime_id: str = ""
    apis: dict[str, str] = field(default_factory=dict)
    """Names by id."""
    configuration_revision: int = 0

    def shown(self) -> tuple[object, ...]:
        """What Runtimes know of it."""
        return self.name, self.description, self.apis


@dataclass
class Runtime(Thing):
    FIELDS = ("name", "description", "labels", "event_url")

    labels: dict[str, str] = field(default_factory=dict)
    event_url: str = ""
    ready_time: int | None = None
    desired_revision: int = 0

    def shown(self) -> tuple[object, ...]:
        """What Applications are told of, once it is READY."""
        return self.name, self.event_url


@dataclass
class Group(Thing):
    FIELDS = ("name", "description", "application_selector", "runtime_selector")

    application_selector: LabelSelector | None = None
    runtime_selector: LabelSelector | None = None
    added: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})


@dataclass
class Model:
    """Everything that is registered, and the revision it is at."""

    application: dict[str, Application] = field(default_factory=dict)
    runtime: dict[str, Runtime] = field(default_factory=dict)
    group: dict[str, Group] = field(default_factory=dict)
    revision: int = 0

    def of(self, kind: str) -> dict[str, Any]:
        things: dict[str, Any] = getattr(self, kind)
        return things

    # What can be seen.

    def why(self, group: Group, kind: str) -> dict[str, tuple[bool, bool]]:
        """The members of a group: whether each was added, and whether it is selected."""
        selector: LabelSelector | None = getattr(group, f"{kind}_selector")
        reasons = {
            each.id: (each.id in group.added[kind], selector is not None and fits(selector, each.labels))
            for each in self.of(kind).values()
        }
        return {id: why for id, why in reasons.items() if any(why)}

    def pairs(self) -> Pairs:
        members = ((kind, group) for kind in KINDS for group in self.group.values())
        return frozenset((kind, group.id, id) for kind, group in members for id in self.why(group, kind))

    def meetings(self) -> Iterator[tuple[str, str, str]]:
        """Each Application and Runtime that a group has both of, with that group."""
        for group in self.group.values():
            runtimes = self.why(group, "runtime")
            yield from ((a, r, group.id) for a in self.why(group, "application") for r in runtimes)

    def sees(self, runtime_id: str) -> frozenset[str]:
        return frozenset(a for a, r, _ in self.meetings() if r == runtime_id)

    def serves(self, application_id: str) -> frozenset[str]:
        return frozenset(r for a, r, _ in self.meetings() if a == application_id)

    def to_run(self, runtime_id: str) -> dict[str, int]:
        """The Applications that a Runtime sees, by the revision of what it sees of them."""
        return {id: self.application[id].configuration_revision for id in self.sees(runtime_id)}

    def eventing_target(self, application_id: str) -> str:
        served, chosen = self.serves(application_id), self.application[application_id].eventing_runtime_id
        ready = [(each.ready_time, id) for id in served if (each := self.runtime[id]).ready_time is not None]
        return chosen if chosen in served else min(ready)[1] if ready else ""

    # What mutations do. `id` is the one that the registry chose for what is new.

    def create(self, kind: str, request: Any, id: str) -> None:
        sent = getattr(request, kind)
        thing: Thing = {"application": Application, "runtime": Runtime, "group": Group}[kind](id)
        _refuse_for(self._absent(_named_by(request)) | self._unfit(kind, id, sent, thing.FIELDS))
        thing.set(sent, thing.FIELDS)
        self.of(kind)[id] = thing
        if isinstance(thing, Group):
            self._join(thing, request.application_ids, request.runtime_ids)
        for group_id in getattr(request, "group_ids", ()):
            self.group[group_id].added["runtime"].add(id)

    def update(self, kind: str, request: Any, id: str) -> None:
        sent = getattr(request, kind)
        thing = self._get(kind, getattr(sent, f"{kind}_id"))
        _refuse_for(_stale(thing, sent.etag) | self._unfit(kind, thing.id, sent, request.update_mask.paths))
        thing.set(sent, request.update_mask.paths)

    def delete(self, kind: str, request: Any, id: str) -> None:
        thing = self._get(kind, getattr(request, f"{kind}_id"))
        held = {"RESOURCE_HELD"} if self._is_held(kind, thing) and not request.force else set()
        _refuse_for(_stale(thing, request.etag) | held)
        del self.of(kind)[thing.id]
        for group in self.group.values() if kind in KINDS else ():
            group.added[kind].discard(thing.id)
        for application in self.application.values():
            if application.eventing_runtime_id == thing.id:
                application.eventing_runtime_id = ""

    def create_api(self, kind: str, request: Any, id: str) -> None:
        apis = self._get("application", request.api.application_id).apis
        _refuse_for({"NAME_TAKEN"} if request.api.name in apis.values() else set())
        apis[id] = request.api.name

    def delete_api(self, kind: str, request: Any, id: str) -> None:
        application = self.application.get(request.application_id)
        if application is None or request.api_id not in application.apis:
            raise Refused({"API_NOT_FOUND"})
        del application.apis[request.api_id]

    def add_members(self, kind: str, request: Any, id: str) -> None:
        group = self._get("group", request.group_id)
        _refuse_for(_stale(group, request.etag) | self._absent(_named_by(request)))
        self._join(group, request.application_ids, request.runtime_ids)

    def remove_members(self, kind: str, request: Any, id: str) -> None:
        group = self._get("group", request.group_id)
        _refuse_for(_stale(group, request.etag))
        self._quit(group, request.application_ids, request.runtime_ids)

    def batch(self, kind: str, request: Any, id: str) -> None:
        reasons: set[str] = set()
        for change in request.changes:
            reasons |= self._absent({"group": [change.group_id]})
            reasons |= self._absent({"application": change.add_application_ids, "runtime": change.add_runtime_ids})
            if change.group_id in self.group:
                reasons |= _stale(self.group[change.group_id], change.etag)
        _refuse_for(reasons)
        for change in request.changes:
            group = self.group[change.group_id]
            self._join(group, change.add_application_ids, change.add_runtime_ids)
            self._quit(group, change.remove_application_ids, change.remove_runtime_ids)

    # What a mutation leaves behind.

    def settle(self, before: "Model") -> set[tuple[str, ...]]:
        """Give what differs from `before` the next revision, if anything does; the rows of the change log."""
        log = set(self._differences(before))
        self.revision = before.revision + bool(log)
        for _, kind, *ids in log:
            if kind == "MEMBER" and ids[1] in self.group:
                self.group[ids[1]].revision = self.revision
            elif ids[0] in (things := self.of(kind.lower()) if kind not in ("MEMBER", "API") else {}):
                things[ids[0]].revision = self.revision
        for id, application in self.application.items():
            if id not in before.application or application.shown() != before.application[id].shown():
                application.configuration_revision = self.revision
        for id, runtime in self.runtime.items():
            if self.to_run(id) != (before.to_run(id) if id in before.runtime else {}):
                runtime.desired_revision = self.revision
        return log

    def concerned(self, before: "Model") -> tuple[Mapping[str, set[str]], Mapping[str, set[str]]]:
        """Which Runtimes each Application has to hear of after the mutation, and which it may hear of."""
        old, new = set(before.meetings()), set(self.meetings())
        moved = {group_id for _, group_id, _ in self.pairs() ^ before.pairs()}
        must: dict[str, set[str]] = {id: set() for id in self.application.keys() & before.application.keys()}
        may: dict[str, set[str]] = {id: set() for id in must}
        for a, r, group_id in old | new:
            if a in must and (a, r, group_id) in old ^ new:
                must[a].add(r)
        for a, group_id in {(a, g) for kind, g, a in self.pairs() | before.pairs() if kind == "application"}:
            if a in may and group_id in moved:
                may[a] |= {r for kind, g, r in self.pairs() | before.pairs() if (kind, g) == ("runtime", group_id)}
        for id in self.runtime.keys() & before.runtime.keys():
            if self.runtime[id].ready_time is not None and self.runtime[id].shown() != before.runtime[id].shown():
                for a in must:
                    must[a] |= {id} & self.serves(a)
                    may[a] |= {id} & (self.serves(a) | before.serves(a))
        return must, may

    def _differences(self, before: "Model") -> Iterator[tuple[str, ...]]:
        for kind in (*KINDS, "group"):
            old, new = before.of(kind), self.of(kind)
            yield from (("CREATE", kind.upper(), id) for id in new.keys() - old.keys())
            yield from (("DELETE", kind.upper(), id) for id in old.keys() - new.keys())
            same = new.keys() & old.keys()
            yield from (("UPDATE", kind.upper(), id) for id in same if new[id].fields() != old[id].fields())
        for id in self.application.keys() & before.application.keys():
            came, went = self.application[id].apis.keys(), before.application[id].apis.keys()
            yield from (("CREATE", "API", api_id) for api_id in came - went)
            yield from (("DELETE", "API", api_id) for api_id in went - came)
        yield from (("ADD", "MEMBER", member, group) for _, group, member in self.pairs() - before.pairs())
        yield from (("REMOVE", "MEMBER", member, group) for _, group, member in before.pairs() - self.pairs())

    def _get(self, kind: str, id: str) -> Any:
        _refuse_for(self._absent({kind: [id]}))
        return self.of(kind)[id]

    def _absent(self, named: Mapping[str, Iterable[str]]) -> set[str]:
        return {f"{kind.upper()}_NOT_FOUND" for kind, ids in named.items() if not set(ids) <= self.of(kind).keys()}

    def _unfit(self, kind: str, id: str, sent: Any, paths: Iterable[str]) -> set[str]:
        reasons = set()
        if "name" in paths and any(each.name == sent.name and each.id != id for each in self.of(kind).values()):
            reasons.add("NAME_TAKEN")
        if "eventing_runtime_id" in paths and sent.eventing_runtime_id not in {"", *self.runtime}:
            reasons.add("RUNTIME_NOT_FOUND")
        return reasons

    def _is_held(self, kind: str, thing: Any) -> bool:
        if kind == "group":
            return any(self.why(thing, member) for member in KINDS)
        chosen = {each.eventing_runtime_id for each in self.application.values()}
        return thing.id in chosen or any(thing.id in group.added[kind] for group in self.group.values())

    def _join(self, group: Group, application_ids: Iterable[str], runtime_ids: Iterable[str]) -> None:
        group.added["application"] |= set(application_ids)
        group.added["runtime"] |= set(runtime_ids)

    def _quit(self, group: Group, application_ids: Iterable[str], runtime_ids: Iterable[str]) -> None:
        group.added["application"] -= set(application_ids)
        group.added["runtime"] -= set(runtime_ids)


def fits(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """The rule of Kubernetes: all that the selector asks for holds."""

    def holds(asked: LabelRequirement) -> bool:
        return {
            LabelOperator.LABEL_OPERATOR_IN: asked.key in labels and labels[asked.key] in asked.values,
            LabelOperator.LABEL_OPERATOR_NOT_IN: asked.key not in labels or labels[asked.key] not in asked.values,
            LabelOperator.LABEL_OPERATOR_EXISTS: asked.key in labels,
            LabelOperator.LABEL_OPERATOR_DOES_NOT_EXIST: asked.key not in labels,
        }[asked.operator]

    return selector.match_labels.items() <= labels.items() and all(map(holds, selector.match_expressions))


def _refuse_for(reasons: Collection[str]) -> None:
    if reasons:
        raise Refused(reasons)


def _stale(thing: Thing, etag: str) -> set[str]:
    return {"ETAG_MISMATCH"} if etag not in ("", f'"{thing.revision}"') else set()


def _named_by(request: Any) -> dict[str, Iterable[str]]:
    """What a request names that has to exist."""
    return {kind: getattr(request, f"{kind}_ids", ()) for kind in (*KINDS, "group")}

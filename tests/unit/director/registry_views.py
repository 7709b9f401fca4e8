"""Every view of the registry, read as its parties read it and held against the plain model."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from google.protobuf.message import Message
from moorage.director.v1.api_pb2 import ListApisRequest
from moorage.director.v1.application_pb2 import ListApplicationsRequest
from moorage.director.v1.configuration_pb2 import (
    ApiConfiguration,
    ApplicationConfiguration,
    GetApplicationConfigurationRequest,
    ResumePoint,
)
from moorage.director.v1.group_pb2 import ListGroupMembersRequest, ListGroupsRequest
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, ListRuntimesRequest
from sqlalchemy import delete

from director.apis import list_apis
from director.application_view import get_application_configuration
from director.applications import list_applications
from director.changes import Kind, read_plane
from director.group_members import list_group_members
from director.groups import list_groups
from director.runtimes import get_runtime, list_runtimes
from director.store import tables
from director.stream import log_reader
from director.stream.log_reader import Arrival, Reading
from director.stream.view import Views
from mesh.configuration import application_sha256, canonical, content_sha256
from tests.unit.director.plane import Plane
from tests.unit.director.registry_model import KINDS, Application, Model

TARGET = "https://api.test"
"""The target of every API."""

PAGE = 4
"""Rows of a page: few enough that lists have several."""

_TRUST_DOMAIN = "plane.test"

Sees = Mapping[str, frozenset[str]]
"""The Applications that each Runtime sees."""


def check_views(plane: Plane, model: Model, history: Sequence[Sees]) -> None:
    """What everybody sees is what the model says; `history` is what Runtimes saw at each revision, the last now."""
    assert plane.revision == model.revision == len(history) - 1
    _check_lists(plane, model)
    _check_groups(plane, model)
    _check_applications(plane, model)
    _check_runtimes(plane, model, history)


def check_log(plane: Plane, since: int, expected: set[tuple[str, ...]]) -> None:
    """The log has one revision after `since` with exactly these rows, or none where there is none to have."""
    changes = plane.changes_since(since)
    rows: list[tuple[str | None, ...]] = [
        (each.action, each.kind, each.resource_id, *([each.group_id] if each.kind is Kind.MEMBER else []))
        for each in changes
    ]
    assert len(rows) == len(expected)
    assert set(rows) == expected
    assert {each.revision for each in changes} <= {since + 1}


def check_notices(plane: Plane, must: Mapping[str, set[str]], may: Mapping[str, set[str]]) -> None:
    """Each Application heard, once, of all the Runtimes that it has to hear of, and of no foreign one."""
    rows = plane.rows(tables.notices)
    with plane.transaction() as tx:
        tx.execute(delete(tables.notices))
    told = {row["application_id"]: set(json.loads(row["body"])["data"]["runtime_ids"]) for row in rows}
    assert len(told) == len(rows)
    assert told.keys() <= must.keys()
    for application_id, runtime_ids in must.items():
        assert runtime_ids <= told.get(application_id, set()) <= may[application_id]


class Streams:
    """What is streamed to every Runtime, kept up by the change log as the hub does it."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._views = Views()
        self._head: int | None = None

    def catch_up(self) -> None:
        """Read what changed since the last time, and take in the Runtimes that are new."""
        new = [id for id in _named(self._plane, list_runtimes, ListRuntimesRequest()) if id not in self._views.runtimes]
        with self._plane.transaction() as tx:
            reading = log_reader.read(tx, self._views, self._head, [Arrival(id, None) for id in new])
        for runtime_id, group_ids in reading.runtimes.items():
            if group_ids is None:
                self._views.remove(runtime_id)
            else:
                self._views.place(runtime_id, group_ids)
        self._views.update(reading.groups, reading.applications)
        self._views.settle(reading.revision)
        self._head = reading.revision

    def check(self) -> None:
        """Each Runtime's stream has the Applications of its groups, as their own calls say that they are."""
        shown = {each.application_id: self._configuration(each) for each in _every(self._plane, _APPLICATIONS)}
        runtimes = _named(self._plane, list_runtimes, ListRuntimesRequest())
        assert self._views.runtimes.keys() == set(runtimes)
        for runtime_id in runtimes:
            state = self._views.runtimes[runtime_id].position.state
            groups = _named(self._plane, list_groups, ListGroupsRequest(runtime_id=runtime_id))
            members = {id for group_id in groups for id in _members(self._plane, group_id)["application"]}
            assert {id: entry.content for id, entry in state.entries.items()} == {
                id: canonical(shown[id]) for id in members
            }
            assert state.content_sha256 == content_sha256({id: application_sha256(shown[id]) for id in members})

    def _configuration(self, message: Any) -> ApplicationConfiguration:
        apis = _every(self._plane, (list_apis, ListApisRequest(application_id=message.application_id)))
        application = Application(message.application_id, message.name, message.description)
        application.apis = {each.api_id: each.name for each in apis}
        return configuration(application)


def configuration(application: Application) -> ApplicationConfiguration:
    """What Runtimes know of an Application."""
    return ApplicationConfiguration(
        application_id=application.id,
        name=application.name,
        description=application.description,
        apis=[
            ApiConfiguration(api_id=id, name=application.apis[id], target_url=TARGET) for id in sorted(application.apis)
        ],
    )


def _check_lists(plane: Plane, model: Model) -> None:
    for kind, what in (("application", _APPLICATIONS), ("runtime", _RUNTIMES), ("group", _GROUPS)):
        things = sorted(model.of(kind).values(), key=lambda thing: str(thing.name))
        listed = list(_every(plane, what))
        assert [getattr(each, f"{kind}_id") for each in listed] == [thing.id for thing in things]
        for message, thing in zip(listed, things, strict=True):
            as_told = deepcopy(thing)
            as_told.set(message, thing.FIELDS)
            assert as_told.fields() == thing.fields()
            assert (message.revision, message.etag) == (thing.revision, f'"{thing.revision}"')
    held = {(id, each.id, name) for each in model.application.values() for id, name in each.apis.items()}
    listed = list(_every(plane, (list_apis, ListApisRequest())))
    assert {(each.api_id, each.application_id, each.name) for each in listed} == held
    assert len(listed) == len(held)


def _check_groups(plane: Plane, model: Model) -> None:
    for group in model.group.values():
        assert _members(plane, group.id) == {kind: model.why(group, kind) for kind in KINDS}
    for kind in KINDS:
        for id in model.of(kind):
            mine = {group.id for group in model.group.values() if id in model.why(group, kind)}
            assert set(_named(plane, list_groups, _groups_of(kind, id))) == mine


def _groups_of(kind: str, id: str) -> ListGroupsRequest:
    return ListGroupsRequest(application_id=id) if kind == "application" else ListGroupsRequest(runtime_id=id)


def _check_applications(plane: Plane, model: Model) -> None:
    unit = partial(get_application_configuration, trust_domain=_TRUST_DOMAIN)
    for id in model.application:
        view = plane.read(unit, GetApplicationConfigurationRequest(application_id=id))
        served = sorted((model.runtime[runtime_id] for runtime_id in model.serves(id)), key=lambda each: each.name)
        assert [(each.runtime_id, each.name, each.event_url, each.ready) for each in view.runtimes] == [
            (each.id, each.name, each.event_url, each.ready_time is not None) for each in served
        ]
        assert (view.revision, view.eventing_runtime_id) == (model.revision, model.eventing_target(id))


def _check_runtimes(plane: Plane, model: Model, history: Sequence[Sees]) -> None:
    """What each sees now, and would be told that it saw at each revision before."""
    for id, runtime in model.runtime.items():
        told = plane.read(get_runtime, GetRuntimeRequest(runtime_id=id)).runtime
        assert told.desired_revision == runtime.desired_revision
    points = [(id, revision) for id in model.runtime for revision in range(len(history))]
    with plane.transaction() as tx:
        plane_id = read_plane(tx).plane_id
        arrivals = [Arrival(id, ResumePoint(plane_id=plane_id, revision=revision)) for id, revision in points]
        reading = log_reader.read(tx, Views(), None, arrivals)
    for (id, revision), opening in zip(points, reading.openings, strict=True):
        assert opening.held == history[revision].get(id, frozenset())
    for id in model.runtime:
        assert _read_by(reading, id) == {
            each: canonical(configuration(model.application[each])) for each in model.sees(id)
        }


def _read_by(reading: Reading, runtime_id: str) -> dict[str, bytes]:
    ids = {id for group_id in reading.runtimes[runtime_id] or () for id in reading.groups[group_id]}
    return {id: entry.content for id in ids if (entry := reading.applications[id]) is not None}


def _members(plane: Plane, group_id: str) -> dict[str, dict[str, tuple[bool, bool]]]:
    """The members of a group by their kind: whether each was added, and whether it is selected."""
    members: dict[str, dict[str, tuple[bool, bool]]] = {kind: {} for kind in KINDS}
    for each in _every(plane, (list_group_members, ListGroupMembersRequest(group_id=group_id))):
        field = each.WhichOneof("member")
        members[field.removesuffix("_id")][getattr(each, field)] = (each.added, each.selected)
    return members


def _named(plane: Plane, unit: Callable[..., Any], request: Message) -> list[str]:
    """The ids of what a List method gives."""
    noun = type(request).__name__.removeprefix("List").removesuffix("sRequest").lower()
    return [getattr(each, f"{noun}_id") for each in _every(plane, (unit, request))]


def _every(plane: Plane, what: tuple[Callable[..., Any], Any]) -> Iterator[Any]:
    """All that a List method gives, page by page."""
    unit, request = what
    asked = type(request)()
    asked.CopyFrom(request)
    asked.page_size = PAGE
    seen = 0
    while True:
        page = plane.read(unit, asked)
        [field, *_] = (name for name in page.DESCRIPTOR.fields_by_name if name not in ("next_page_token", "total_size"))
        rows = getattr(page, field)
        seen += len(rows)
        yield from rows
        asked.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert getattr(page, "total_size", seen) == seen


_APPLICATIONS = (list_applications, ListApplicationsRequest())
_RUNTIMES = (list_runtimes, ListRuntimesRequest())
_GROUPS = (list_groups, ListGroupsRequest())

"""Random sequences of mutations against a plain model of the registry: every view agrees after each of them."""

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from moorage.director.v1 import api_pb2, application_pb2, group_pb2, runtime_pb2
from moorage.director.v1.label_pb2 import LabelSelector
from sqlalchemy import delete

from director import apis, applications, group_members, groups, runtimes
from director.store import tables
from director.store.changes import create_plane
from mesh.errors import Refusal
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.registry_draws import (
    CHANGE,
    FIELDS,
    FIRST,
    HOW,
    KIND,
    LABELS,
    ONE,
    PLAINLY,
    SELECTOR,
    SOME,
    How,
)
from tests.unit.director.registry_model import KINDS, Application, Group, Model, Refused, Runtime
from tests.unit.director.registry_views import TARGET, Sees, Streams, check_log, check_notices, check_views

Unit = Callable[..., Any]
Apply = Callable[[Model, str, Any, str], None]


class Noun(NamedTuple):
    """One kind of resource: its messages, its fields, and what can be done to one."""

    messages: ModuleType
    fields: tuple[str, ...]
    create: Unit
    update: Unit
    delete: Unit


NOUNS = {
    "application": Noun(
        application_pb2,
        Application.FIELDS,
        applications.create_application,
        applications.update_application,
        applications.delete_application,
    ),
    "runtime": Noun(
        runtime_pb2, Runtime.FIELDS, runtimes.create_runtime, runtimes.update_runtime, runtimes.delete_runtime
    ),
    "group": Noun(group_pb2, Group.FIELDS, groups.create_group, groups.update_group, groups.delete_group),
}
CREATE_API, DELETE_API = partial(apis.create_api, document=None), apis.delete_api


class Walk(RuleBasedStateMachine):
    """The registry and the model of it, doing the same."""

    plane: ClassVar[Plane]

    def __init__(self) -> None:
        super().__init__()
        with self.plane.transaction() as tx:
            for table in reversed(tables.metadata.sorted_tables):
                tx.execute(delete(table))
            create_plane(tx, new_id())
        self.model = Model()
        self.history: list[Sees] = [{}]
        self.answered: list[tuple[Unit, Any, Any]] = []
        self._begin()

    def _begin(self) -> None:
        """With something there already: walks are short."""
        for kind, number in (("application", 4), ("runtime", 4), ("group", 3)):
            for index in range(number):
                fields = {name: value[index % len(value)] for name, value in FIRST.items()}
                self._do(
                    NOUNS[kind].create, Model.create, kind, self._create(kind, fields, {index}, {0, index}), PLAINLY
                )
        for index in range(2):
            self.choose(index, index)

    @rule(kind=KIND, fields=FIELDS, some=SOME, others=SOME, how=HOW)
    def create(self, kind: str, fields: dict[str, Any], some: set[int], others: set[int], how: How) -> None:
        self._change(NOUNS[kind].create, Model.create, kind, self._create(kind, fields, some, others), how)

    @rule(kind=KIND, one=ONE, fields=FIELDS, paths=st.sets(st.integers(0, 3), min_size=1, max_size=2), how=HOW)
    def update(self, kind: str, one: int, fields: dict[str, Any], paths: set[int], how: How) -> None:
        self._update(kind, one, fields, [NOUNS[kind].fields[index] for index in sorted(paths)], how)

    @rule(kind=st.sampled_from(KINDS), one=ONE, labels=LABELS, how=HOW)
    def relabel(self, kind: str, one: int, labels: dict[str, str], how: How) -> None:
        self._update(kind, one, {"labels": labels}, ["labels"], how)

    @rule(kind=st.sampled_from(KINDS), one=ONE, selector=st.none() | SELECTOR, how=HOW)
    def reselect(self, kind: str, one: int, selector: LabelSelector | None, how: How) -> None:
        self._update("group", one, {f"{kind}_selector": selector}, [f"{kind}_selector"], how)

    @rule(one=ONE, chosen=ONE)
    def choose(self, one: int, chosen: int) -> None:
        self._update("application", one, {"eventing_runtime_id": chosen}, ["eventing_runtime_id"], PLAINLY)

    @rule(kind=KIND, one=ONE, force=st.booleans(), how=HOW)
    def delete(self, kind: str, one: int, force: bool, how: How) -> None:
        id = self._one(kind, one)
        request = self._request("Delete", kind, **{f"{kind}_id": id}, force=force, etag=self._etag(kind, id, how.etag))
        self._change(NOUNS[kind].delete, Model.delete, kind, request, how)

    @rule(one=ONE, name=st.sampled_from("abc"), how=HOW)
    def create_api(self, one: int, name: str, how: How) -> None:
        api = api_pb2.Api(application_id=self._one("application", one), name=name, target_url=TARGET)
        self._change(CREATE_API, Model.create_api, "api", api_pb2.CreateApiRequest(api=api), how)

    @rule(one=ONE, other=ONE, how=HOW)
    def delete_api(self, one: int, other: int, how: How) -> None:
        application_id = self._one("application", one)
        held = list(self.model.application[application_id].apis) if application_id in self.model.application else []
        api_id = held[other % len(held)] if held else new_id()
        request = api_pb2.DeleteApiRequest(application_id=application_id, api_id=api_id)
        self._change(DELETE_API, Model.delete_api, "api", request, how)

    @rule(one=ONE, some=SOME, others=SOME, how=HOW)
    def add_members(self, one: int, some: set[int], others: set[int], how: How) -> None:
        request = self._of_members(group_pb2.AddGroupMembersRequest, one, some, others, how)
        self._change(group_members.add_group_members, Model.add_members, "group", request, how)

    @rule(one=ONE, some=SOME, others=SOME, how=HOW)
    def remove_members(self, one: int, some: set[int], others: set[int], how: How) -> None:
        request = self._of_members(group_pb2.RemoveGroupMembersRequest, one, some, others, how)
        self._change(group_members.remove_group_members, Model.remove_members, "group", request, how)

    @rule(changes=st.lists(CHANGE, min_size=1, max_size=3, unique_by=lambda change: change[0]), how=HOW)
    def batch(self, changes: list[Any], how: How) -> None:
        request = group_pb2.BatchUpdateGroupMembersRequest(request_id=new_id())
        for one, add, remove, add_others, remove_others, etag in changes:
            group_id = self._one("group", one)
            if group_id in (change.group_id for change in request.changes):
                continue
            request.changes.add(
                group_id=group_id,
                etag=self._etag("group", group_id, etag),
                add_application_ids=(came := self._some("application", add)),
                remove_application_ids=[id for id in self._some("application", remove) if id not in came],
                add_runtime_ids=(came := self._some("runtime", add_others)),
                remove_runtime_ids=[id for id in self._some("runtime", remove_others) if id not in came],
            )
        self._change(group_members.batch_update_group_members, Model.batch, "group", request, how)

    @rule(one=ONE, since=ONE)
    def become_ready(self, one: int, since: int) -> None:
        id = self._one("runtime", one)
        if id in self.model.runtime:
            self.plane.make_ready(id, since)
            self.model.runtime[id].ready_time = since
            self.check()

    @rule(one=ONE)
    def ask_again(self, one: int) -> None:
        """The same request gives the first answer, another one under its id a refusal, and neither does anything."""
        if self.answered:
            unit, request, response = self.answered[one % len(self.answered)]
            assert self.plane.change(unit, request) == response
            altered = type(request)()
            altered.CopyFrom(request)
            self._alter(altered)
            with pytest.raises(Refusal) as refused:
                self.plane.change(unit, altered)
            assert refused.value.name == "REQUEST_ID_REUSED"
            self.check()

    def check(self) -> None:
        check_views(self.plane, self.model, self.history)

    def teardown(self) -> None:
        revisions = {row["revision"] for row in self.plane.rows(tables.changes)}
        assert sorted(revisions) == list(range(1, self.model.revision + 1))

    def _change(self, unit: Unit, apply: Apply, kind: str, request: Any, how: How) -> None:
        """Have both do the same, and see that they are the same."""
        self._do(unit, apply, kind, request, how)
        self.check()

    def _do(self, unit: Unit, apply: Apply, kind: str, request: Any, how: How) -> None:
        """Have both do the same, and see that both tell the same of it."""
        request.validate_only = how.validate_only
        before, after = self.model, deepcopy(self.model)
        response, reason = self._answer(unit, request)
        try:
            apply(after, kind, request, _id_in(response, kind))
            reasons: Collection[str | None] = {None}
        except Refused as refused:
            reasons, after = refused.reasons, deepcopy(before)
        assert reason in reasons
        log = after.settle(before)
        if response is not None:
            self._check_answer(response, after)
        if how.validate_only:
            after, log = before, set()
        check_log(self.plane, before.revision, log)
        check_notices(self.plane, *after.concerned(before))
        self._keep(after)
        if getattr(request, "request_id", "") and response is not None and not how.validate_only:
            self.answered.append((unit, request, response))

    def _answer(self, unit: Unit, request: Any) -> tuple[Any, str | None]:
        try:
            return self.plane.change(unit, request), None
        except Refusal as refusal:
            return None, refusal.name

    def _keep(self, after: Model) -> None:
        for id in after.application.keys() - self.model.application.keys():
            self.plane.add_webhook(id)
        if after.revision > self.model.revision:
            self.history.append({id: after.sees(id) for id in after.runtime})
        self.model = after

    def _check_answer(self, response: Any, after: Model) -> None:
        for kind in NOUNS:
            if kind in response.DESCRIPTOR.fields_by_name:
                message = getattr(response, kind)
                thing = after.of(kind)[getattr(message, f"{kind}_id")]
                assert (message.name, message.etag) == (thing.name, f'"{thing.revision}"')
        if isinstance(response, group_pb2.BatchUpdateGroupMembersResponse):
            assert response.revision == after.revision
            assert [each.revision for each in response.groups] == [
                after.group[each.group_id].revision for each in response.groups
            ]

    def _alter(self, request: Any) -> None:
        if isinstance(request, group_pb2.BatchUpdateGroupMembersRequest):
            request.changes[0].etag = '"altered"'
        else:
            [kind] = (kind for kind in NOUNS if kind in request.DESCRIPTOR.fields_by_name)
            getattr(request, kind).description = "altered"

    def _update(self, kind: str, one: int, fields: Mapping[str, Any], named: Collection[str], how: How) -> None:
        message = self._message(kind, fields, named)
        id = self._one(kind, one)
        setattr(message, f"{kind}_id", id)
        message.etag = self._etag(kind, id, how.etag)
        request = self._request("Update", kind, **{kind: message})
        request.update_mask.paths.extend(named)
        self._change(NOUNS[kind].update, Model.update, kind, request, how)

    def _create(self, kind: str, fields: Mapping[str, Any], some: set[int], others: set[int]) -> Any:
        request = self._request("Create", kind, **{kind: self._message(kind, fields, NOUNS[kind].fields)})
        if kind == "group":
            request.application_ids.extend(self._some("application", some))
            request.runtime_ids.extend(self._some("runtime", others))
        if kind == "runtime":
            request.group_ids.extend(self._some("group", some))
        request.request_id = new_id()
        return request

    def _request(self, verb: str, kind: str, **fields: Any) -> Any:
        return getattr(NOUNS[kind].messages, f"{verb}{kind.title()}Request")(**fields)

    def _message(self, kind: str, fields: Mapping[str, Any], names: Collection[str]) -> Any:
        values = {name: fields[name] for name in names}
        if "eventing_runtime_id" in values:
            chosen = values["eventing_runtime_id"]
            values["eventing_runtime_id"] = "" if chosen is None else self._one("runtime", chosen)
        return getattr(NOUNS[kind].messages, kind.title())(**values)

    def _of_members(self, request: Any, one: int, some: set[int], others: set[int], how: How) -> Any:
        group_id = self._one("group", one)
        return request(
            group_id=group_id,
            application_ids=self._some("application", some),
            runtime_ids=self._some("runtime", others),
            etag=self._etag("group", group_id, how.etag),
        )

    def _etag(self, kind: str, id: str, which: str) -> str:
        thing = self.model.of(kind).get(id)
        revision = thing.revision if thing is not None else 0
        return {"none": "", "current": f'"{revision}"', "stale": f'"{revision - 1}"'}[which]

    def _one(self, kind: str, index: int) -> str:
        """One of a kind; the last index, or any where there is none, is of nobody."""
        ids = list(self.model.of(kind))
        return ids[index % len(ids)] if ids and index < 9 else new_id()

    def _some(self, kind: str, indexes: set[int]) -> list[str]:
        ids = list(self.model.of(kind))
        return [ids[i] for i in sorted({index % len(ids) for index in indexes})] if ids else []


class StreamedWalk(Walk):
    """The same, watched through the streams of the Runtimes, which catch up now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = Streams(self.plane)

    def check(self) -> None:
        """It is the streams that are looked at."""

    @rule()
    def catch_up(self) -> None:
        self.streams.catch_up()
        self.streams.check()

    def teardown(self) -> None:
        self.catch_up()


def _id_in(response: Any, kind: str) -> str:
    """The id of the one that was created, or of whatever else an answer is about."""
    return str(getattr(getattr(response, kind, None), f"{kind}_id", ""))


def _walk(walk: type[Walk], plane: Plane, examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(type(walk.__name__, (walk,), {"plane": plane}), settings=chosen)


EXAMPLES = {"sqlite": 12, "postgresql": 4}
MANY_EXAMPLES = {"sqlite": 200, "postgresql": 60}


def test_every_view_is_what_a_plain_model_says(plane: Plane, engine_name: str) -> None:
    _walk(Walk, plane, EXAMPLES[engine_name], steps=20)


def test_what_a_runtime_is_streamed_is_what_its_groups_say(plane: Plane, engine_name: str) -> None:
    _walk(StreamedWalk, plane, EXAMPLES[engine_name], steps=20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_view_is_what_a_plain_model_says_for_long(plane: Plane, engine_name: str) -> None:
    _walk(Walk, plane, MANY_EXAMPLES[engine_name], steps=60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_a_runtime_is_streamed_is_what_its_groups_say_for_long(plane: Plane, engine_name: str) -> None:
    _walk(StreamedWalk, plane, MANY_EXAMPLES[engine_name], steps=60)

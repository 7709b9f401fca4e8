"""Labels of Applications and Runtimes, in their rows and in the index."""

import re
from collections.abc import Iterator, Mapping

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    DeleteApplicationRequest,
    GetApplicationRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    GetRuntimeRequest,
    Runtime,
    UpdateRuntimeRequest,
)
from sqlalchemy import event

from director.applications import create_application, delete_application, get_application, update_application
from director.labels import from_json, to_json
from director.runtimes import create_runtime, delete_runtime, get_runtime, update_runtime
from director.store import tables
from tests.unit.director.plane import Plane


def labelled(plane: Plane, labels: Mapping[str, str]) -> Application:
    request = CreateApplicationRequest(application=Application(name="orders", labels=labels))
    return plane.change(create_application, request).application


def relabelled(plane: Plane, id: str, labels: Mapping[str, str], *paths: str) -> Application:
    sent = Application(application_id=id, labels=labels)
    request = UpdateApplicationRequest(application=sent, update_mask=FieldMask(paths=paths))
    return plane.change(update_application, request).application


def indexed(plane: Plane) -> dict[str, str]:
    return {row["key"]: row["value"] for row in plane.rows(tables.application_labels)}


@pytest.fixture
def index_writes(plane: Plane) -> Iterator[list[str]]:
    """The statements that write to an index of labels while the test runs."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if re.match(r"(INSERT INTO|UPDATE|DELETE FROM) \w+_labels\b", statement):
            seen.append(statement)

    event.listen(plane.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(plane.database.engine, "before_cursor_execute", note)


def test_labels_are_read_as_they_were_sent_and_stand_in_the_index(plane: Plane) -> None:
    labels = {"region": "eu", "example.com/tier": "1", "empty": ""}
    created = labelled(plane, labels)
    assert created.labels == labels
    read = plane.read(get_application, GetApplicationRequest(application_id=created.application_id)).application
    assert read == created
    assert indexed(plane) == labels


def test_an_update_replaces_the_whole_map(plane: Plane) -> None:
    id = labelled(plane, {"region": "eu", "tier": "1", "kept": "yes"}).application_id
    updated = relabelled(plane, id, {"region": "us", "new": "n", "kept": "yes"})
    assert updated.labels == {"region": "us", "new": "n", "kept": "yes"} == indexed(plane)
    assert updated.revision == plane.revision


def test_only_a_mask_empties_the_map(plane: Plane) -> None:
    created = labelled(plane, {"region": "eu"})
    assert relabelled(plane, created.application_id, {}) == created
    assert relabelled(plane, created.application_id, {}, "labels").labels == {} == indexed(plane)


def test_one_label_of_the_map_cannot_be_named_alone(plane: Plane) -> None:
    id = labelled(plane, {"region": "eu"}).application_id
    with pytest.raises(Exception, match=r"labels\.region"):
        relabelled(plane, id, {"region": "us"}, "labels.region")


def test_the_same_labels_in_another_order_change_nothing(plane: Plane, index_writes: list[str]) -> None:
    created = labelled(plane, {"a": "1", "b": "2"})
    index_writes.clear()
    assert relabelled(plane, created.application_id, {"b": "2", "a": "1"}) == created
    assert plane.revision == created.revision
    assert index_writes == []


def test_the_index_is_written_only_where_a_label_changes(plane: Plane, index_writes: list[str]) -> None:
    id = labelled(plane, {"a": "1"}).application_id
    index_writes.clear()
    sent = Application(application_id=id, description="new", labels={"a": "1"})
    plane.change(update_application, UpdateApplicationRequest(application=sent))
    assert index_writes == []
    relabelled(plane, id, {"a": "1", "b": "2"})
    assert [each.split()[0] for each in index_writes] == ["INSERT"]


def test_the_labels_of_what_is_deleted_go_with_it(plane: Plane) -> None:
    id = labelled(plane, {"a": "1"}).application_id
    plane.change(delete_application, DeleteApplicationRequest(application_id=id, force=True))
    assert plane.rows(tables.application_labels) == []


def test_a_runtime_has_labels_too(plane: Plane) -> None:
    request = CreateRuntimeRequest(runtime=Runtime(name="prod", labels={"region": "eu"}))
    created = plane.change(create_runtime, request).runtime
    assert created.labels == {"region": "eu"}
    sent = Runtime(runtime_id=created.runtime_id, labels={"region": "us"})
    updated = plane.change(update_runtime, UpdateRuntimeRequest(runtime=sent)).runtime
    assert updated.labels == {"region": "us"}
    assert plane.read(get_runtime, GetRuntimeRequest(runtime_id=created.runtime_id)).runtime == updated
    [row] = plane.rows(tables.runtime_labels)
    assert (row["runtime_id"], row["key"], row["value"]) == (created.runtime_id, "region", "us")
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=created.runtime_id, force=True))
    assert plane.rows(tables.runtime_labels) == []


def test_labels_do_not_move_what_runtimes_go_by(plane: Plane) -> None:
    created = labelled(plane, {})
    relabelled(plane, created.application_id, {"a": "1"})
    assert plane.rows(tables.applications)[0]["configuration_revision"] == created.revision


def test_the_same_labels_are_always_the_same_text() -> None:
    assert to_json({"b": "2", "a": "1"}) == to_json({"a": "1", "b": "2"})
    assert from_json(to_json({"a": "1"})) == {"a": "1"}

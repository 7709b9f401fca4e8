"""Partial responses: of a resource, what was asked for."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.runtime_pb2 import Runtime, RuntimeStatus
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from director.search.masks import ReadMask
from tests.unit.director.refused import refused


def full() -> Runtime:
    return Runtime(
        runtime_id="1",
        name="a",
        state=RuntimeState.RUNTIME_STATE_READY,
        labels={"env": "prod"},
        status=RuntimeStatus(revision=7, content_sha256="ab"),
    )


def shown(*paths: str) -> Runtime:
    return ReadMask(FieldMask(paths=paths), Runtime.DESCRIPTOR).apply(full())


@pytest.mark.parametrize("paths", [[], ["*"], ["name", "*"]])
def test_an_empty_mask_and_a_star_show_all(paths: list[str]) -> None:
    assert shown(*paths) == full()


def test_a_mask_shows_what_it_names_and_nothing_else() -> None:
    assert shown("name", "labels") == Runtime(name="a", labels={"env": "prod"})


def test_a_path_leads_into_a_message() -> None:
    assert shown("status.revision") == Runtime(status=RuntimeStatus(revision=7))


@pytest.mark.parametrize("paths", [["status", "status.revision"], ["status.revision", "status"]])
def test_a_whole_takes_the_place_of_its_parts(paths: list[str]) -> None:
    assert shown(*paths) == Runtime(status=full().status)


def test_a_field_that_is_not_set_is_not_there() -> None:
    assert shown("description", "create_time") == Runtime()


@pytest.mark.parametrize(
    "path", ["nme", "", ".", "name.", "name.x", "labels.env", "status.failures.message", "status.x", "name,state"]
)
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with refused("FIELD_INVALID", "read_mask"):
        shown("name", path)

"""Which fields an update sets: AIP-134 and AIP-161."""

from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st
from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.runtime_pb2 import Runtime
from moorage.director.v1.specification_pb2 import Specification

from director.kinds import API, RUNTIME
from director.resource import fields_to_set
from tests.unit.director.refused import refused

TEXTS = st.text(st.characters(codec="ascii", categories=["Ll"]), max_size=3)


@given(name=TEXTS, description=TEXTS, event_url=TEXTS)
def test_an_empty_mask_means_every_field_that_is_populated(name: str, description: str, event_url: str) -> None:
    sent = Runtime(name=name, description=description, event_url=event_url, runtime_id="1", etag='"1"', revision=3)
    populated = {field for field in RUNTIME.settable if getattr(sent, field)}
    assert set(fields_to_set(RUNTIME, FieldMask(), sent)) == populated


@given(st.sets(st.sampled_from(RUNTIME.settable), min_size=1), TEXTS, TEXTS)
def test_a_mask_means_just_what_it_names_populated_or_not(paths: set[str], description: str, event_url: str) -> None:
    sent = Runtime(name="n", description=description, event_url=event_url)
    assert set(fields_to_set(RUNTIME, FieldMask(paths=sorted(paths)), sent)) == paths


def test_a_star_means_every_field_that_can_be_set() -> None:
    assert set(fields_to_set(API, FieldMask(paths=["*"]), Api(name="n", target_url="https://a.test"))) == {
        "name",
        "description",
        "target_url",
        "specification",
        "version",
        "version_group",
        "bundle_id",
    }


def test_a_message_field_is_populated_when_it_is_there() -> None:
    assert "specification" in fields_to_set(API, FieldMask(), Api(specification=Specification()))
    assert "specification" not in fields_to_set(API, FieldMask(), Api(name="n"))


def test_a_map_is_populated_when_it_has_an_entry() -> None:
    assert "labels" in fields_to_set(RUNTIME, FieldMask(), Runtime(labels={"region": ""}))
    assert "labels" not in fields_to_set(RUNTIME, FieldMask(), Runtime(labels={}))


def test_fields_that_cannot_be_set_are_each_named_beside_those_that_can() -> None:
    mask = FieldMask(paths=["name", "state", "nonsense"])
    with refused("UPDATE_MASK_INVALID", "update_mask", "update_mask") as refusal:
        fields_to_set(RUNTIME, mask, Runtime(name="n"))
    assert refusal.metadata == {"settable": "name,description,event_url,labels"}
    assert [each.description.split()[0] for each in refusal.violations] == ["nonsense", "state"]


@given(st.text(min_size=1).filter(lambda path: path not in {*RUNTIME.settable, "*"}))
def test_a_path_that_names_no_settable_field_is_refused(path: str) -> None:
    with refused("UPDATE_MASK_INVALID", "update_mask"):
        fields_to_set(RUNTIME, FieldMask(paths=[path]), Runtime(name="n"))


def test_a_star_beside_another_path_is_refused() -> None:
    with refused("UPDATE_MASK_INVALID", "update_mask"):
        fields_to_set(RUNTIME, FieldMask(paths=["*", "name"]), Runtime(name="n"))


def test_a_required_field_cannot_be_emptied() -> None:
    for paths in (["name"], ["*"]):
        with refused("FIELD_INVALID", "runtime.name"):
            fields_to_set(RUNTIME, FieldMask(paths=paths), Runtime(description="d"))

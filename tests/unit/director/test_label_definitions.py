"""Label definitions: which values labels may have, whichever came first, the definition or the label."""

import json

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, UpdateApplicationRequest
from moorage.director.v1.label_pb2 import (
    CreateLabelDefinitionRequest,
    DeleteLabelDefinitionRequest,
    GetLabelDefinitionRequest,
    LabelDefinition,
    ListLabelDefinitionsRequest,
    UpdateLabelDefinitionRequest,
)
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from director.applications import create_application, update_application
from director.changes import Action, Kind
from director.label_definitions import (
    MOST_HOLDERS,
    create_label_definition,
    delete_label_definition,
    get_label_definition,
    list_label_definitions,
    update_label_definition,
)
from director.runtimes import create_runtime
from director.store import tables
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused

REGIONS = json.dumps({"enum": ["eu", "us"]})


def define(plane: Plane, key: str = "region", schema: str = "", description: str = "") -> LabelDefinition:
    sent = LabelDefinition(key=key, schema=schema, description=description)
    return plane.change(create_label_definition, CreateLabelDefinitionRequest(label_definition=sent)).label_definition


def redefine(plane: Plane, sent: LabelDefinition, *paths: str) -> LabelDefinition:
    request = UpdateLabelDefinitionRequest(label_definition=sent, update_mask=FieldMask(paths=paths))
    return plane.change(update_label_definition, request).label_definition


def application(plane: Plane, name: str, **labels: str) -> Application:
    request = CreateApplicationRequest(application=Application(name=name, labels=labels))
    return plane.change(create_application, request).application


def runtime(plane: Plane, name: str, **labels: str) -> Runtime:
    return plane.change(create_runtime, CreateRuntimeRequest(runtime=Runtime(name=name, labels=labels))).runtime


def read(plane: Plane, key: str = "region") -> LabelDefinition:
    return plane.read(get_label_definition, GetLabelDefinitionRequest(key=key)).label_definition


def test_what_was_created_is_what_is_read(plane: Plane) -> None:
    created = define(plane, "example.com/region", REGIONS, "Where it runs.")
    assert (created.key, created.schema, created.description) == ("example.com/region", REGIONS, "Where it runs.")
    assert created.create_time == created.update_time
    assert created.revision == plane.revision
    assert read(plane, "example.com/region") == created
    [change] = plane.changes_since(0)
    assert (change.action, change.kind, change.resource_id) == (
        Action.CREATE,
        Kind.LABEL_DEFINITION,
        "example.com/region",
    )


def test_a_key_is_defined_once(plane: Plane) -> None:
    define(plane)
    with refused("NAME_TAKEN", "label_definition.key") as refusal:
        define(plane)
    assert refusal.metadata == {"id": "region"}


def test_a_repeated_create_gives_the_first_answer(plane: Plane) -> None:
    request = CreateLabelDefinitionRequest(label_definition=LabelDefinition(key="region"), request_id=new_id())
    first = plane.change(create_label_definition, request)
    assert plane.change(create_label_definition, request) == first
    assert plane.revision == first.label_definition.revision


def test_what_is_only_validated_is_not_there(plane: Plane) -> None:
    request = CreateLabelDefinitionRequest(label_definition=LabelDefinition(key="region"), validate_only=True)
    plane.change(create_label_definition, request)
    assert plane.rows(tables.label_definitions) == []
    request.label_definition.schema = "{"
    with refused("FIELD_INVALID", "label_definition.schema"):
        plane.change(create_label_definition, request)


def test_definitions_are_listed_by_key_a_page_at_a_time(plane: Plane) -> None:
    for key in ("c", "a", "b"):
        define(plane, key)
    first = plane.read(list_label_definitions, ListLabelDefinitionsRequest(page_size=2))
    rest = ListLabelDefinitionsRequest(page_size=2, page_token=first.next_page_token)
    second = plane.read(list_label_definitions, rest)
    assert [each.key for each in first.label_definitions] == ["a", "b"]
    assert [each.key for each in second.label_definitions] == ["c"]
    assert second.next_page_token == ""


def test_an_update_takes_a_revision_and_is_in_the_log(plane: Plane) -> None:
    created = define(plane)
    updated = redefine(plane, LabelDefinition(key="region", schema=REGIONS, etag=created.etag))
    assert (updated.schema, updated.revision) == (REGIONS, created.revision + 1)
    assert updated.etag != created.etag
    [change] = plane.changes_since(created.revision)
    assert (change.action, change.kind, change.resource_id) == (Action.UPDATE, Kind.LABEL_DEFINITION, "region")


def test_an_update_that_changes_nothing_takes_no_revision(plane: Plane) -> None:
    created = define(plane, schema=REGIONS)
    assert redefine(plane, LabelDefinition(key="region", schema=REGIONS)) == created
    assert plane.revision == created.revision


def test_a_stale_etag_is_refused(plane: Plane) -> None:
    define(plane)
    with refused("ETAG_MISMATCH", "etag"):
        redefine(plane, LabelDefinition(key="region", schema=REGIONS, etag='"0"'))
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(delete_label_definition, DeleteLabelDefinitionRequest(key="region", etag='"0"'))


def test_the_key_itself_cannot_be_set(plane: Plane) -> None:
    define(plane)
    with refused("UPDATE_MASK_INVALID", "update_mask"):
        redefine(plane, LabelDefinition(key="region"), "key")


def test_what_is_not_there_is_not_found(plane: Plane) -> None:
    with refused("LABEL_DEFINITION_NOT_FOUND"):
        read(plane)
    with refused("LABEL_DEFINITION_NOT_FOUND"):
        redefine(plane, LabelDefinition(key="region", schema=REGIONS))
    with refused("LABEL_DEFINITION_NOT_FOUND"):
        plane.change(delete_label_definition, DeleteLabelDefinitionRequest(key="region"))


def test_a_label_that_breaks_its_definition_is_refused_and_named(plane: Plane) -> None:
    define(plane, schema=REGIONS)
    define(plane, "tier", '{"pattern": "^[0-9]$"}')
    with refused("LABEL_INVALID", 'application.labels["region"]', 'application.labels["tier"]'):
        application(plane, "orders", region="mars", tier="high", other="any")
    with refused("LABEL_INVALID", 'runtime.labels["region"]'):
        runtime(plane, "prod", region="mars", tier="1")
    assert plane.rows(tables.applications) == plane.rows(tables.runtimes) == []
    created = application(plane, "orders", region="eu", tier="1")
    sent = Application(application_id=created.application_id, labels={"region": "mars"})
    with refused("LABEL_INVALID", 'application.labels["region"]'):
        plane.change(update_application, UpdateApplicationRequest(application=sent))


def test_a_definition_without_a_schema_allows_every_value(plane: Plane) -> None:
    define(plane)
    assert application(plane, "orders", region="mars").labels == {"region": "mars"}


def test_labels_that_a_new_definition_does_not_allow_are_in_the_way_and_who_has_them_is_named(plane: Plane) -> None:
    application(plane, "orders", region="mars")
    application(plane, "billing", region="eu")
    runtime(plane, "prod", region="moon")
    with refused("LABELS_IN_THE_WAY", *["label_definition.schema"] * 2) as refusal:
        define(plane, schema=REGIONS)
    assert [each.description.split(":")[0] for each in refusal.violations] == ["application orders", "runtime prod"]
    assert plane.rows(tables.label_definitions) == []


def test_labels_that_a_changed_definition_does_not_allow_are_in_the_way(plane: Plane) -> None:
    created = define(plane)
    application(plane, "orders", region="mars")
    with refused("LABELS_IN_THE_WAY", "label_definition.schema"):
        redefine(plane, LabelDefinition(key="region", schema=REGIONS))
    assert read(plane) == created
    assert redefine(plane, LabelDefinition(key="region", description="Anywhere.")).description == "Anywhere."


def test_of_many_that_are_in_the_way_the_first_are_named(plane: Plane) -> None:
    for n in range(MOST_HOLDERS + 5):
        application(plane, f"a{n:02d}", region=f"mars-{n:02d}")
    with refused("LABELS_IN_THE_WAY", *["label_definition.schema"] * MOST_HOLDERS):
        define(plane, schema=REGIONS)


def test_a_definition_of_labels_that_things_have_is_held_by_them_unless_forced(plane: Plane) -> None:
    define(plane, schema=REGIONS)
    application(plane, "orders", region="eu")
    runtime(plane, "prod", region="us")
    with refused("RESOURCE_HELD", "key", "key") as refusal:
        plane.change(delete_label_definition, DeleteLabelDefinitionRequest(key="region"))
    assert [each.description for each in refusal.violations] == ["application orders has it", "runtime prod has it"]
    plane.change(delete_label_definition, DeleteLabelDefinitionRequest(key="region", force=True))
    assert plane.rows(tables.label_definitions) == []
    assert len(plane.rows(tables.application_labels)) == 1
    assert application(plane, "billing", region="mars").labels == {"region": "mars"}


def test_a_definition_that_nothing_has_goes_and_the_log_says_so(plane: Plane) -> None:
    created = define(plane)
    plane.change(delete_label_definition, DeleteLabelDefinitionRequest(key="region", etag=created.etag))
    [change] = plane.changes_since(created.revision)
    assert (change.action, change.kind, change.resource_id) == (Action.DELETE, Kind.LABEL_DEFINITION, "region")
    assert define(plane).revision == created.revision + 2


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "not JSON"),
        ('{"maxLength": NaN}', "not JSON"),
        ('{"pattern": "\\ud800"}', "not JSON"),
        ('{"properties": {"\\udfff": 5}}', "not JSON"),
        ("5", "$"),
        ('{"type": "strin"}', "strin"),
        ('{"minLength": -1}', "minimum"),
        ('{"$ref": "https://example.com/schema"}', "$ref"),
        ('{"$ref": "file:///etc/passwd"}', "$ref"),
        ('{"anyOf": [{"$dynamicRef": "#a"}]}', "$dynamicRef"),
        ('{"$defs": {"a": {"$ref": "#/$defs/a"}}}', "$ref"),
        ('{"$schema": "http://json-schema.org/draft-07/schema#"}', "$schema"),
        ('{"pattern": "("}', "pattern"),
        ('{"pattern": "(?=a)a"}', "pattern"),
        ('{"pattern": "(a)\\\\1"}', "pattern"),
        ('{"pattern": "((a{1000}){1000}){1000}"}', "pattern"),
        ('{"not":' * 40 + "true" + "}" * 40, "deep"),
        ("[" * 8000 + "]" * 8000, "deep"),
    ],
)
def test_what_is_no_schema_or_would_be_a_costly_one_is_refused(plane: Plane, schema: str, why: str) -> None:
    with refused("FIELD_INVALID", "label_definition.schema") as refusal:
        define(plane, schema=schema)
    assert why in refusal.message


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ('{"type": "string", "minLength": 2, "maxLength": 3}', "abc", "abcd"),
        ('{"const": "eu"}', "eu", "us"),
        ('{"pattern": "^v[0-9]+([.][0-9]+)*$"}', "v1.20.3", "v1."),
        ('{"pattern": "eu"}', "my-eu-west", "us"),
        ('{"pattern": "^\\\\p{Lu}$"}', "E", "e"),
        ('{"not": {"enum": ["mars"]}}', "eu", "mars"),
        ('{"anyOf": [{"const": "eu"}, {"pattern": "^us-"}]}', "us-1", "mars"),
        ('{"$schema": "https://json-schema.org/draft/2020-12/schema", "enum": [""]}', "", "x"),
    ],
)
def test_a_value_is_held_to_the_schema_as_json_schema_has_it(plane: Plane, schema: str, good: str, bad: str) -> None:
    define(plane, schema=schema)
    assert application(plane, "orders", region=good).labels["region"] == good
    with refused("LABEL_INVALID", 'application.labels["region"]'):
        application(plane, "billing", region=bad)


def test_a_pattern_that_would_take_others_for_ever_takes_no_time(plane: Plane) -> None:
    define(plane, schema='{"pattern": "^(a|a)*(a+)+$"}')
    with refused("LABEL_INVALID", 'application.labels["region"]'):
        application(plane, "orders", region="a" * 61 + "-b")

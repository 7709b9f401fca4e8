"""Label definitions: what a label is for, and which values it may have.

At any time, every label meets the definition of its key: what exists is held to a definition when it is made or
changed, and what is set to the definition that there is.
"""

from moorage.director.v1.label_pb2 import (
    CreateLabelDefinitionRequest,
    CreateLabelDefinitionResponse,
    DeleteLabelDefinitionRequest,
    DeleteLabelDefinitionResponse,
    GetLabelDefinitionRequest,
    GetLabelDefinitionResponse,
    LabelDefinition,
    ListLabelDefinitionsRequest,
    ListLabelDefinitionsResponse,
    UpdateLabelDefinitionRequest,
    UpdateLabelDefinitionResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from director import resource
from director.changes import Action, Kind, Mutation
from director.kinds import LABEL_DEFINITION
from director.search.listing import read_list
from director.search.masks import ReadMask
from director.search.resources import LABEL_DEFINITION_SEARCH
from director.store import Transaction
from director.store.labels import Holder, holders_of, values_of
from director.store.registry import LABEL_DEFINITIONS, Values
from director.times import to_timestamp
from mesh.errors import Refusal, Violation

MOST_HOLDERS = 20
"""Things with a label that one refusal names."""


def create_label_definition(
    tx: Transaction, mutation: Mutation, request: CreateLabelDefinitionRequest
) -> CreateLabelDefinitionResponse:
    """Define a label; raises `Refusal` (NAME_TAKEN, FIELD_INVALID, LABELS_IN_THE_WAY)."""
    sent = request.label_definition
    values = {"key": sent.key, "description": sent.description, "schema": sent.schema}
    row = resource.create(tx, mutation, LABEL_DEFINITION, values)
    _check_schema(tx, row)
    _record(mutation, Action.CREATE, sent.key)
    return CreateLabelDefinitionResponse(label_definition=_message(row))


def get_label_definition(tx: Transaction, request: GetLabelDefinitionRequest) -> GetLabelDefinitionResponse:
    """Read a definition; raises `Refusal` (LABEL_DEFINITION_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, LabelDefinition.DESCRIPTOR)
    row = resource.get(tx, LABEL_DEFINITION, request.key)
    return GetLabelDefinitionResponse(label_definition=mask.apply(_message(row)))


def list_label_definitions(tx: Transaction, request: ListLabelDefinitionsRequest) -> ListLabelDefinitionsResponse:
    """Read a page of definitions; raises `Refusal` (FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID)."""
    listing = read_list(tx, LABEL_DEFINITIONS, LABEL_DEFINITION_SEARCH, request)
    return ListLabelDefinitionsResponse(
        label_definitions=listing.messages(_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_label_definition(
    tx: Transaction, mutation: Mutation, request: UpdateLabelDefinitionRequest
) -> UpdateLabelDefinitionResponse:
    """Change a definition.

    Raises `Refusal` (LABEL_DEFINITION_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, LABELS_IN_THE_WAY).
    """
    sent = request.label_definition
    fields = resource.fields_to_set(LABEL_DEFINITION, request.update_mask, sent)
    row = resource.get(tx, LABEL_DEFINITION, sent.key)
    resource.check_etag(row, sent.etag)
    changed = resource.update(tx, mutation, LABEL_DEFINITION, row, {name: getattr(sent, name) for name in fields})
    if changed is not None:
        if changed["schema"] != row["schema"]:
            _check_schema(tx, changed)
        _record(mutation, Action.UPDATE, sent.key)
    return UpdateLabelDefinitionResponse(label_definition=_message(changed or row))


def delete_label_definition(
    tx: Transaction, mutation: Mutation, request: DeleteLabelDefinitionRequest
) -> DeleteLabelDefinitionResponse:
    """Remove a definition; raises `Refusal` (LABEL_DEFINITION_NOT_FOUND, ETAG_MISMATCH, RESOURCE_HELD).

    While things have the label it stays, unless with `force`; they keep the label.
    """
    resource.check_etag(resource.get(tx, LABEL_DEFINITION, request.key), request.etag)
    holders = [] if request.force else holders_of(tx, request.key, MOST_HOLDERS)
    if holders:
        raise Refusal(
            Reason.REASON_RESOURCE_HELD,
            f"{holders[0].noun} {holders[0].name} has the label {request.key}",
            violations=[Violation("key", f"{each.noun} {each.name} has it") for each in holders],
        )
    LABEL_DEFINITIONS.delete(tx, request.key)
    _record(mutation, Action.DELETE, request.key)
    return DeleteLabelDefinitionResponse()


def _check_schema(tx: Transaction, definition: Values) -> None:
    """Hold what exists to a definition; raises `Refusal` (FIELD_INVALID, LABELS_IN_THE_WAY)."""
    if not definition["schema"]:
        return
    from director.label_schemas import SchemaRefused, label_schema  # see director.labels

    try:
        schema = label_schema(definition["schema"])
    except SchemaRefused as error:
        raise Refusal(
            Reason.REASON_FIELD_INVALID,
            f"not a schema that labels can be held to: {error}",
            field="label_definition.schema",
        ) from error
    key = definition["key"]
    problems = {value: problem for value in values_of(tx, key) if (problem := schema.problem(value))}
    if problems:
        # Each value has somebody who has it: more values than holders that are named are not asked about.
        raise _in_the_way(key, problems, holders_of(tx, key, MOST_HOLDERS, sorted(problems)[:MOST_HOLDERS]))


def _in_the_way(key: str, problems: dict[str, str], holders: list[Holder]) -> Refusal:
    return Refusal(
        Reason.REASON_LABELS_IN_THE_WAY,
        f"labels {key} that exist do not meet the schema, such as that of {holders[0].noun} {holders[0].name}",
        violations=[
            Violation("label_definition.schema", f"{each.noun} {each.name}: {problems[each.value]}") for each in holders
        ],
    )


def _record(mutation: Mutation, action: Action, key: str) -> None:
    mutation.record(action, Kind.LABEL_DEFINITION, key)


def _message(row: Values) -> LabelDefinition:
    return LabelDefinition(
        key=row["key"],
        description=row["description"],
        schema=row["schema"],
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
    )

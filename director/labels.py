"""Labels of Applications and Runtimes: in their rows as JSON, in the index of labels, and held to the definitions."""

import json
from collections.abc import Mapping

from moorage.errors.v1.errors_pb2 import Reason

from director.kinds import APPLICATION, RUNTIME, ResourceKind
from director.store import Transaction
from director.store.labels import APPLICATION_LABELS, RUNTIME_LABELS, schemas_of
from mesh.errors import Refusal, Violation

NONE = "{}"
"""No labels, as a row keeps them."""


def to_json(labels: Mapping[str, str]) -> str:
    """Labels as a row keeps them: the same labels are always the same text."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> dict[str, str]:
    """The labels that a row keeps."""
    labels: dict[str, str] = {} if text == NONE else json.loads(text)
    return labels


def relabel(tx: Transaction, kind: ResourceKind, id: str, before: str, after: str) -> bool:
    """Have the index say what the row says, where the labels changed; both are as the row keeps them.

    Raises `Refusal` (LABEL_INVALID), with a violation for each label that breaks its definition. What did not change
    is not looked at. Says whether anything did.
    """
    if before == after:
        return False
    old, new = from_json(before), from_json(after)
    gone = {key for key, value in old.items() if new.get(key) != value}
    come = {key: value for key, value in new.items() if old.get(key) != value}
    _check(tx, kind, come)
    _INDICES[kind.kind].change(tx, id, gone, come)
    return True


def _check(tx: Transaction, kind: ResourceKind, labels: Mapping[str, str]) -> None:
    schemas = schemas_of(tx, labels.keys())
    if not schemas:
        return
    from director.label_schemas import label_schema  # a tenth of a second, which planes without schemas do without

    problems = {key: label_schema(schemas[key]).problem(labels[key]) for key in sorted(schemas)}
    violations = [Violation(f'{kind.field}.labels["{key}"]', problem) for key, problem in problems.items() if problem]
    if violations:
        first = violations[0]
        raise Refusal(Reason.REASON_LABEL_INVALID, f"{first.field}: {first.description}", violations=violations)


_INDICES = {APPLICATION.kind: APPLICATION_LABELS, RUNTIME.kind: RUNTIME_LABELS}

"""What the resources of the registry have in common: unique names, etags and update masks (AIP-131 to 135, 154, 161).

Each function is told the kind of resource by its `ResourceKind`, and refuses with the reasons of the catalogue.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from moorage.errors.v1.errors_pb2 import Reason

from director.changes import Mutation
from director.kinds import ResourceKind
from director.store import Transaction
from director.store.registry import Values
from mesh.errors import Refusal, Violation


def etag(revision: int) -> str:
    """The etag of a resource that was last changed at `revision`: a strong one, in quotes (AIP-154)."""
    return f'"{revision}"'


def get(tx: Transaction, kind: ResourceKind, id: str) -> Values:
    """The resource's row; raises `Refusal` (the kind's NOT_FOUND)."""
    row = kind.registry.find(tx, id)
    if row is None:
        raise not_found(kind, id)
    return row


def not_found(kind: ResourceKind, id: str, field: str | None = None) -> Refusal:
    """The refusal of an id that no living resource of the kind has; `field` where it stands inside of a resource."""
    return Refusal(kind.not_found, f"there is no {kind.noun} {id}", field=field)


def require_all(tx: Transaction, kind: ResourceKind, field: str, ids: Sequence[str]) -> None:
    """Raise `Refusal` (the kind's NOT_FOUND), with a violation for each of the `ids` in `field` that does not exist."""
    present = kind.registry.present(tx, ids)
    missing = {index: id for index, id in enumerate(ids) if id not in present}
    if missing:
        raise Refusal(
            kind.not_found,
            f"{len(missing)} of the {field} do not exist, such as {next(iter(missing.values()))}",
            violations=[
                Violation(f"{field}[{index}]", f"there is no {kind.noun} {id}") for index, id in missing.items()
            ],
        )


def check_etag(row: Values, sent: str, field: str = "etag") -> None:
    """Raise `Refusal` (ETAG_MISMATCH) where an etag was sent and the resource is no longer as it names it."""
    if sent and sent != etag(row["revision"]):
        raise Refusal(Reason.REASON_ETAG_MISMATCH, "the resource changed since it was read", field=field)


def check_name(tx: Transaction, kind: ResourceKind, values: Values) -> None:
    """Raise `Refusal` (NAME_TAKEN) where another resource has the name that `values` has."""
    holder = kind.registry.holder(tx, values)
    if holder is not None:
        raise Refusal(
            Reason.REASON_NAME_TAKEN,
            f"another {kind.noun} is named {values[kind.registry.name]}",
            field=f"{kind.field}.{kind.registry.name}",
            metadata={"id": holder},
        )


def fields_to_set(kind: ResourceKind, mask: FieldMask, message: Message) -> Collection[str]:
    """Which fields an update sets (AIP-134, AIP-161).

    Those that the mask names; `*` stands for all, and an empty mask for those that are populated. Raises `Refusal`:
    UPDATE_MASK_INVALID for a path that cannot be set, FIELD_INVALID where a required field would become empty.
    """
    paths = set(mask.paths)
    if not paths:
        return [name for name in kind.settable if _is_populated(message, name)]
    if paths == {"*"}:
        paths = set(kind.settable)
    if unknown := sorted(paths.difference(kind.settable)):
        settable = ", ".join(kind.settable)
        raise Refusal(
            Reason.REASON_UPDATE_MASK_INVALID,
            f"update_mask names {', '.join(unknown)}; what can be set is {settable}",
            violations=[Violation("update_mask", f"{path} cannot be set; {settable} can") for path in unknown],
            metadata={"settable": ",".join(kind.settable)},
        )
    emptied = [name for name in kind.required if name in paths and not _is_populated(message, name)]
    if emptied:
        raise Refusal(
            Reason.REASON_FIELD_INVALID,
            f"{' and '.join(emptied)} must not be empty",
            violations=[Violation(f"{kind.field}.{name}", f"{name} must be set") for name in emptied],
        )
    return paths


def create(tx: Transaction, mutation: Mutation, kind: ResourceKind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a new resource its id, times and revision, and store it; raises `Refusal` (NAME_TAKEN). Returns its row."""
    check_name(tx, kind, values)
    row = {
        kind.registry.key: mutation.new_id(),
        **values,
        "create_time": mutation.micros,
        "update_time": mutation.micros,
        "revision": mutation.revision,
    }
    kind.registry.insert(tx, row)
    return row


def update(
    tx: Transaction,
    mutation: Mutation,
    kind: ResourceKind,
    row: Values,
    values: Mapping[str, Any],
    revisions: Sequence[str] = ("revision",),
) -> dict[str, Any] | None:
    """Store what of `values` differs from the row; raises `Refusal` (NAME_TAKEN).

    `revisions` are the columns that take the mutation's revision. Returns the row as it is now, or None where nothing
    differs.
    """
    differing = {name: value for name, value in values.items() if row[name] != value}
    if not differing:
        return None
    stamps = {"update_time": mutation.micros, **dict.fromkeys(revisions, mutation.revision)}
    changed = {**row, **differing, **stamps}
    if kind.registry.name in differing:
        check_name(tx, kind, changed)
    kind.registry.update(tx, row[kind.registry.key], {**differing, **stamps})
    return changed


def _is_populated(message: Message, name: str) -> bool:
    if message.DESCRIPTOR.fields_by_name[name].has_presence:
        return message.HasField(name)
    return bool(getattr(message, name))

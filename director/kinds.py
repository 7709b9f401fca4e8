"""The kinds of resources that the registry holds."""

from dataclasses import dataclass

from moorage.errors.v1.errors_pb2 import Reason

from director.changes import Kind
from director.store.registry import (
    APIS,
    APPLICATIONS,
    BUNDLES,
    DOCUMENTS,
    EVENT_APIS,
    GROUPS,
    LABEL_DEFINITIONS,
    RUNTIMES,
    Registry,
)


@dataclass(frozen=True)
class ResourceKind:
    """What tells one kind of resource from another."""

    kind: Kind
    """Its name in the change log."""

    field: str
    """The field of a request that holds one, such as `application`."""

    registry: Registry
    """Where they are kept."""

    not_found: Reason.ValueType
    """The reason for an id that no living one has."""

    required: tuple[str, ...]
    """Fields that can be set and never emptied."""

    optional: tuple[str, ...]
    """Fields that can be set and emptied."""

    @property
    def noun(self) -> str:
        """What a message calls one."""
        return self.field.replace("_", " ")

    @property
    def settable(self) -> tuple[str, ...]:
        """All fields that an update can set."""
        return self.required + self.optional


APPLICATION = ResourceKind(
    kind=Kind.APPLICATION,
    field="application",
    registry=APPLICATIONS,
    not_found=Reason.REASON_APPLICATION_NOT_FOUND,
    required=("name",),
    optional=("description", "provider", "labels", "base_url", "health_url", "eventing_runtime_id"),
)

API = ResourceKind(
    kind=Kind.API,
    field="api",
    registry=APIS,
    not_found=Reason.REASON_API_NOT_FOUND,
    required=("name", "target_url"),
    optional=("description", "specification", "version", "version_group", "bundle_id"),
)

EVENT_API = ResourceKind(
    kind=Kind.EVENT_API,
    field="event_api",
    registry=EVENT_APIS,
    not_found=Reason.REASON_EVENT_API_NOT_FOUND,
    required=("name",),
    optional=("description", "specification", "version", "version_group", "bundle_id"),
)

BUNDLE = ResourceKind(
    kind=Kind.BUNDLE,
    field="bundle",
    registry=BUNDLES,
    not_found=Reason.REASON_BUNDLE_NOT_FOUND,
    required=("name",),
    optional=("description",),
)

DOCUMENT = ResourceKind(
    kind=Kind.DOCUMENT,
    field="document",
    registry=DOCUMENTS,
    not_found=Reason.REASON_DOCUMENT_NOT_FOUND,
    required=("name",),
    optional=("description", "title", "format", "content", "url", "bundle_id"),
)

GROUP = ResourceKind(
    kind=Kind.GROUP,
    field="group",
    registry=GROUPS,
    not_found=Reason.REASON_GROUP_NOT_FOUND,
    required=("name",),
    optional=("description", "application_selector", "runtime_selector"),
)

RUNTIME = ResourceKind(
    kind=Kind.RUNTIME,
    field="runtime",
    registry=RUNTIMES,
    not_found=Reason.REASON_RUNTIME_NOT_FOUND,
    required=("name",),
    optional=("description", "event_url", "labels"),
)

LABEL_DEFINITION = ResourceKind(
    kind=Kind.LABEL_DEFINITION,
    field="label_definition",
    registry=LABEL_DEFINITIONS,
    not_found=Reason.REASON_LABEL_DEFINITION_NOT_FOUND,
    required=(),
    optional=("description", "schema"),
)

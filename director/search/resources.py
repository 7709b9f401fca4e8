"""What can be searched of each kind of resource. The contract says the same beside each `filter` and `order_by`."""

from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.application_pb2 import Application
from moorage.director.v1.bundle_pb2 import Bundle
from moorage.director.v1.document_pb2 import Document
from moorage.director.v1.event_api_pb2 import EventApi
from moorage.director.v1.group_pb2 import Group
from moorage.director.v1.label_pb2 import LabelDefinition
from moorage.director.v1.runtime_pb2 import Runtime

from director.search.fields import Searchable

_TIMES = ("create_time", "update_time")
_OFFER = ("name", "description", "application_id", "bundle_id")
_VERSION = ("version.value", "version.deprecated", "version_group", "specification.format", "specification.state")

APPLICATION_SEARCH = Searchable(
    Application.DESCRIPTOR,
    fields=("name", "description", "provider", "labels", "base_url", "state", *_TIMES, "last_seen_time"),
    sortable=("name", "provider", "state", *_TIMES),
)

API_SEARCH = Searchable(
    Api.DESCRIPTOR,
    fields=(*_OFFER, "target_url", *_VERSION, *_TIMES),
    sortable=("name", "application_id", "version_group", *_TIMES),
    columns={"version.value": "version"},
)

EVENT_API_SEARCH = Searchable(
    EventApi.DESCRIPTOR,
    fields=(*_OFFER, *_VERSION, *_TIMES),
    sortable=("name", "application_id", "version_group", *_TIMES),
    columns={"version.value": "version"},
)

BUNDLE_SEARCH = Searchable(
    Bundle.DESCRIPTOR,
    fields=("name", "description", "application_id", *_TIMES),
    sortable=("name", "application_id", *_TIMES),
)

DOCUMENT_SEARCH = Searchable(
    Document.DESCRIPTOR,
    fields=(*_OFFER, "title", "format", *_TIMES),
    sortable=("name", "title", "application_id", *_TIMES),
)

GROUP_SEARCH = Searchable(
    Group.DESCRIPTOR,
    fields=("name", "description", *_TIMES),
    sortable=("name", *_TIMES),
)

RUNTIME_SEARCH = Searchable(
    Runtime.DESCRIPTOR,
    fields=(
        *("name", "description", "labels", "event_url", "state", "status.agent_version", "status.revision"),
        *(*_TIMES, "last_seen_time"),
    ),
    sortable=("name", "state", *_TIMES),
    columns={"status.agent_version": "agent_version"},
)

LABEL_DEFINITION_SEARCH = Searchable(
    LabelDefinition.DESCRIPTOR,
    fields=("key", "description", *_TIMES),
    sortable=("key", *_TIMES),
    words=("key", "description"),
)

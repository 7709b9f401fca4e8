"""The Director's tables, as SQLAlchemy Core metadata.

Ids are UUIDs in their canonical text form. Times are whole microseconds since the Unix epoch, UTC. A `revision` is
a place in the change log. An `etag` is not stored: it follows from the row's revision.
"""

from director.store.tables.base import metadata
from director.store.tables.departures import departures
from director.store.tables.groups import group_applications, group_runtimes, groups, selector_anchors
from director.store.tables.log import COUNTED, changes, plane, replies
from director.store.tables.notices import notices, webhooks
from director.store.tables.offers import apis, bundles, documents, event_apis, specification_fetches, specifications
from director.store.tables.registry import application_labels, applications, label_definitions, runtime_labels, runtimes
from director.store.tables.secrets import access_requests, credentials, data_keys

__all__ = [
    "COUNTED",
    "access_requests",
    "apis",
    "application_labels",
    "applications",
    "bundles",
    "changes",
    "credentials",
    "data_keys",
    "departures",
    "documents",
    "event_apis",
    "group_applications",
    "group_runtimes",
    "groups",
    "label_definitions",
    "metadata",
    "notices",
    "plane",
    "replies",
    "runtime_labels",
    "runtimes",
    "selector_anchors",
    "specification_fetches",
    "specifications",
    "webhooks",
]

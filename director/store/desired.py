"""The query that says up to which revision a Runtime has something to run."""

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from director.store.tables import applications, group_applications, group_runtimes


def desired_revision(tx: Connection, runtime_id: str) -> int:
    """The last revision that changed what a Runtime is to run; 0 where nothing ever did.

    That is when it was last given an Application, when one that it has changed, or when it lost one. An Application
    that comes by two groups comes with the first of them and goes with the last.
    """
    served: defaultdict[str, list[_Served]] = defaultdict(list)
    for row in tx.execute(_MEMBERSHIPS, {"runtime_id": runtime_id}):
        span = _together(row)
        if span.end is None or span.begin < span.end:
            served[row.application_id].append(span)
    return max((_last_change(spans) for spans in served.values()), default=0)


class _Served(NamedTuple):
    """For how long one group gave the Runtime an Application, and the last revision that changed the Application."""

    begin: int
    end: int | None
    configuration: int


def _together(row: Any) -> _Served:
    ends = [end for end in (row.removed, row.application_removed) if end is not None]
    return _Served(max(row.added, row.application_added), min(ends) if ends else None, row.configuration_revision or 0)


def _last_change(spans: list[_Served]) -> int:
    """The revision at which the Application came, changed or went, whichever was last."""
    spans.sort(key=lambda span: span.begin)
    begin, end = spans[0].begin, spans[0].end
    for span in spans[1:]:
        if end is None:
            break
        if span.begin > end:
            begin, end = span.begin, span.end
        else:
            end = None if span.end is None else max(end, span.end)
    return max(begin, spans[0].configuration) if end is None else end


_MEMBERSHIPS = (
    select(
        group_applications.c.application_id,
        group_runtimes.c.added_revision.label("added"),
        group_runtimes.c.removed_revision.label("removed"),
        group_applications.c.added_revision.label("application_added"),
        group_applications.c.removed_revision.label("application_removed"),
        applications.c.configuration_revision,
    )
    .join(group_applications, group_applications.c.group_id == group_runtimes.c.group_id)
    .outerjoin(applications, applications.c.application_id == group_applications.c.application_id)
    .where(group_runtimes.c.runtime_id == bindparam("runtime_id"))
)

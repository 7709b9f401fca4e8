"""A plane whose Runtimes are watched for staleness, by one Director or several."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportState
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, Runtime
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from certs.spiffe import SpiffeId
from director.mutate import Occasion, mutate
from director.presence import Presence
from director.reports import report_configuration
from director.runtimes import get_runtime
from director.staleness import Staleness
from director.store import tables
from mesh.call import Caller
from tests.unit.director.plane import BEGIN, Plane, new_id

APPLYING, APPLIED, REPORT_FAILED = (
    ReportState.REPORT_STATE_APPLYING,
    ReportState.REPORT_STATE_APPLIED,
    ReportState.REPORT_STATE_FAILED,
)
PENDING, READY, FAILED, STALE = (
    RuntimeState.RUNTIME_STATE_PENDING,
    RuntimeState.RUNTIME_STATE_READY,
    RuntimeState.RUNTIME_STATE_FAILED,
    RuntimeState.RUNTIME_STATE_STALE,
)
DIRECTOR = "spiffe://plane.test/service/director"
HASH = "ab" * 32
ROUND = timedelta(seconds=30)


class Sent:
    """What one instance's hub knows of its streams: the revision that is awaited of each, and since when."""

    def __init__(self, watched: "Watched") -> None:
        self.watched = watched
        self.awaited: dict[str, tuple[int, datetime]] = {}

    def overdue(self, seconds: float) -> Mapping[str, int]:
        before = self.watched.now - timedelta(seconds=seconds)
        return {id: revision for id, (revision, since) in self.awaited.items() if since < before}

    def answered(self, reported: Mapping[str, int]) -> None:
        for id, revision in reported.items():
            if self.awaited.get(id, (revision + 1,))[0] <= revision:
                del self.awaited[id]


class Instance:
    """One Director on the plane."""

    def __init__(self, watched: "Watched") -> None:
        self.sent = Sent(watched)
        staleness = Staleness(
            watched.plane.database,
            self.sent,
            lambda: watched.now,
            new_id,
            DIRECTOR,
            silent_after=timedelta(seconds=90),
            apply_deadline=timedelta(seconds=300),
        )
        self.staleness = staleness
        self.presence = Presence(watched.plane.database, lambda: watched.now, timedelta(minutes=5), staleness)


class Watched:
    """A plane with a Runtime in a group with an Application that has a webhook, and a clock that is set."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.now = BEGIN + timedelta(hours=1)
        self.director = Instance(self)
        self.application = plane.application("orders").application_id
        plane.add_webhook(self.application)
        self.group = plane.group("all", [self.application]).group_id
        self.id = plane.runtime("edge", group_ids=[self.group]).runtime_id
        self.take_notices()

    def runtime(self, id: str = "") -> Runtime:
        return self.plane.read(get_runtime, GetRuntimeRequest(runtime_id=id or self.id)).runtime

    @property
    def state(self) -> int:
        return self.runtime().state

    async def calls(self, id: str = "") -> None:
        self.director.presence.called(agent(id or self.id))
        await self.director.presence.write_newcomers()

    async def reports(self, state: ReportState.ValueType, revision: int | None = None, **fields: Any) -> None:
        """As the agent does it: the call is noted, too, but not written yet."""
        request = ReportConfigurationRequest(
            runtime_id=self.id,
            revision=self.plane.revision if revision is None else revision,
            state=state,
            content_sha256=HASH,
            **fields,
        )
        with self.plane.transaction() as tx:
            assert mutate(tx, Occasion(self.now, DIRECTOR, "call", new_id), report_configuration, request).accepted

    async def passes(self, seconds: int, *instances: Instance) -> None:
        """Let rounds pass, with the sweep that comes with each."""
        for _ in range(seconds // 30):
            self.now += ROUND
            for each in instances or [self.director]:
                await each.presence.end_round()
                await each.presence.sweep()

    async def streams(self, seconds: int) -> None:
        """Let time pass while the agent holds a stream."""
        self.director.presence.stream_began(agent(self.id))
        await self.passes(seconds)
        self.director.presence.stream_ended(agent(self.id))

    def take_notices(self) -> list[str]:
        rows = self.plane.rows(tables.notices)
        with self.plane.transaction() as tx:
            tx.execute(tables.notices.delete())
        return [row["type"] for row in rows]


def agent(id: str) -> Caller:
    return Caller(SpiffeId("plane.test", f"/runtime/{id}"), "01", datetime(2040, 1, 1, tzinfo=UTC))

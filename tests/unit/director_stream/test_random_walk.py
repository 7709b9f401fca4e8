"""A random walk over all that can happen to a stream: commits, arrivals, departures, in and between readings."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection

from director.stream.hub import Hub
from mesh.database.sqlite import SqliteDatabase
from tests.unit.director_stream import plane
from tests.unit.director_stream.reader import Reader

P = ParamSpec("P")
T = TypeVar("T")

_ROUNDS = 20
"""Turns of the event loop within which everything that can happen has happened."""

_ONE = st.integers(0, 9)
_SOME = st.sets(_ONE, max_size=3)


def _some(items: Sequence[T], indexes: set[int]) -> list[T]:
    """Those of `items` that the indexes fall on, each once."""
    return [items[i] for i in sorted({index % len(items) for index in indexes})] if items else []


class GatedDatabase(SqliteDatabase):
    """Reads at once, and gives the result when the gate is open: what comes meanwhile comes during the reading."""

    gate: asyncio.Event

    @cached_property
    def connection(self) -> Connection:
        connection = self.engine.connect()
        connection.connection.cursor().execute("PRAGMA synchronous = OFF")  # nothing here is to outlive the walk
        return connection

    async def read(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        result = self.run(unit, *args, **kwargs)
        await self.gate.wait()
        return result

    def run(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self.connection.begin():
            return unit(self.connection, *args, **kwargs)

    def close(self) -> None:
        self.connection.close()
        super().close()


class Walk(RuleBasedStateMachine):
    """Applications, groups and runtimes come and go under readers that come and go, too."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.database = GatedDatabase(Path(self.folder.name) / "director.sqlite")
        plane.prepare(self.database)
        self.loop.run(self._start())
        self.groups = [self._commit(plane.add_group) for _ in range(5)]
        self.applications = [self._commit(plane.add_application) for _ in range(4)]
        self.runtimes = [self._commit(plane.add_runtime, self.groups[i]) for i in (0, 0, 1, 2)]
        self._commit(plane.join, self.groups[0], application_ids=self.applications[:2])
        self._commit(plane.join, self.groups[1], application_ids=self.applications[1:])
        self.readers = [self.loop.run(self._connected(runtime)) for runtime in self.runtimes]

    async def _start(self) -> None:
        self.database.gate = asyncio.Event()
        self.database.gate.set()
        self.hub = Hub(
            self.database,
            poll_interval=3600.0,
            bookmark_interval=0.001,
            open_deadline=3600.0,
            arrivals_apart=0.0,
            chunk_bytes=200,
        )
        await self.hub.start()

    async def _connected(self, runtime: str) -> Reader:
        reader = Reader(self.hub, runtime)
        reader.connect()
        return reader

    @rule()
    def create_application(self) -> None:
        self.applications.append(self._commit(plane.add_application))

    @rule(groups=_SOME)
    def create_runtime(self, groups: set[int]) -> None:
        self.runtimes.append(self._commit(plane.add_runtime, *_some(self.groups, groups)))
        self.readers.append(self.loop.run(self._connected(self.runtimes[-1])))

    @rule(applications=_SOME, text=st.sampled_from("abc"))
    def change_applications(self, applications: set[int], text: str) -> None:
        self._commit(plane.describe, *_some(self.applications, applications), description=text)

    @rule(runtimes=_SOME)
    def change_credentials(self, runtimes: set[int]) -> None:
        for runtime_id in _some(self.runtimes, runtimes):
            self._commit(plane.change_credential, runtime_id)

    @rule(application=_ONE)
    def create_api(self, application: int) -> None:
        for application_id in _some(self.applications, {application}):
            self._commit(plane.add_api, application_id, name=plane.new_id())

    @rule(group=_ONE, applications=_SOME, runtimes=_SOME)
    def join(self, group: int, applications: set[int], runtimes: set[int]) -> None:
        for group_id in _some(self.groups, {group}):
            self._commit(
                plane.join,
                group_id,
                application_ids=_some(self.applications, applications),
                runtime_ids=_some(self.runtimes, runtimes),
            )

    @rule(group=_ONE, applications=_SOME, runtimes=_SOME)
    def leave(self, group: int, applications: set[int], runtimes: set[int]) -> None:
        for group_id in _some(self.groups, {group}):
            self._commit(
                plane.leave,
                group_id,
                application_ids=_some(self.applications, applications),
                runtime_ids=_some(self.runtimes, runtimes),
            )

    @rule(runtime=_ONE, group=_ONE, other=_ONE)
    def regroup(self, runtime: int, group: int, other: int) -> None:
        """A runtime leaves a group for another, while the group's applications follow it."""
        for runtime_id in _some(self.runtimes, {runtime}):
            for old, new in zip(_some(self.groups, {group}), _some(self.groups, {other}), strict=True):
                applications = self._commit(plane.members_of, old)
                self._commit(plane.leave, old, application_ids=applications, runtime_ids=[runtime_id])
                self._commit(plane.join, new, application_ids=applications, runtime_ids=[runtime_id])

    @rule(application=_ONE)
    def delete_application(self, application: int) -> None:
        for application_id in _some(self.applications, {application}):
            self._commit(plane.delete_application, application_id)
            self.applications.remove(application_id)

    @rule(group=_ONE)
    def replace_group(self, group: int) -> None:
        for group_id in _some(self.groups, {group}):
            self._commit(plane.delete_group, group_id)
            self.groups.remove(group_id)
        self.groups.append(self._commit(plane.add_group))

    @rule(runtime=_ONE)
    def delete_runtime(self, runtime: int) -> None:
        for runtime_id in _some(self.runtimes, {runtime}):
            self._commit(plane.delete_runtime, runtime_id)
            self.runtimes.remove(runtime_id)

    @rule(reader=_ONE)
    def add_reader(self, reader: int) -> None:
        for first in _some(self.readers, {reader}):
            self.readers.append(self.loop.run(self._connected(first.runtime_id)))

    @rule(readers=_SOME)
    def disconnect(self, readers: set[int]) -> None:
        for reader in _some(self.readers, readers):
            self.loop.run(reader.disconnect())

    @rule(readers=_SOME, resume=st.booleans())
    def reconnect(self, readers: set[int], resume: bool) -> None:
        async def connect() -> None:
            for reader in _some(self.readers, readers):
                await reader.disconnect()
                reader.connect(resume=resume)

        self.loop.run(connect())

    @rule(readers=_SOME)
    def pause(self, readers: set[int]) -> None:
        for reader in _some(self.readers, readers):
            reader.reading.clear()

    @rule(readers=_SOME)
    def go_on(self, readers: set[int]) -> None:
        for reader in _some(self.readers, readers):
            reader.reading.set()

    @rule(application=_ONE, group=_ONE)
    def change_during_a_reading(self, application: int, group: int) -> None:
        """The last thing that happens comes while a reading is under way."""
        self._settle()
        self.database.gate.clear()
        self.change_applications({application}, "before")
        self.loop.run(self._turns(3))
        self.change_applications({application}, "during")
        self.join(group, {application}, set())
        self._settle()

    @rule()
    def settle(self) -> None:
        self._settle()

    @rule()
    def hold_readings(self) -> None:
        self.database.gate.clear()

    @rule(turns=st.integers(1, _ROUNDS))
    def let_it_run(self, turns: int) -> None:
        self.loop.run(self._turns(turns))

    @rule()
    def finish_readings(self) -> None:
        self.database.gate.set()

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        self._commit(lambda tx: plane.compact(tx, max(plane.head_of(tx) - back, 0)))

    @rule(kept=st.integers(0, 5), most=st.integers(1, 3), units=st.integers(1, 3), turns=st.integers(0, 3))
    def forget(self, kept: int, most: int, units: int, turns: int) -> None:
        """The log is shortened in small units, with readings and arrivals between them."""
        for _ in range(units):
            self._commit(plane.forget, kept, most)
            self.loop.run(self._turns(turns))

    @rule()
    def restart_the_hub(self) -> None:
        async def restart() -> None:
            self.database.gate.set()
            await self.hub.stop()
            await self._start()
            for reader in self.readers:
                reader.hub = self.hub

        self.loop.run(restart())

    def teardown(self) -> None:
        try:
            for reader in self.readers:
                reader.reading.set()
            self._settle()
            self.reconnect({i for i, reader in enumerate(self.readers) if not reader.connected}, resume=True)
            self._settle()
            for reader in self.readers:
                gone = self.database.run(plane.view_of, reader.runtime_id) is None
                assert reader.connected is not gone
                assert not gone or (reader.refusal and reader.refusal.reason == Reason.REASON_RUNTIME_NOT_FOUND)
        finally:
            self.loop.run(self._stop())
            self.database.close()
            self.loop.close()
            self.folder.cleanup()

    def _settle(self) -> None:
        self.database.gate.set()
        self.loop.run(self._turns(_ROUNDS * 5))
        self._check()

    def _check(self) -> None:
        """Every reader that reads has exactly its view, and knows when its credentials changed."""
        for reader in self.readers:
            if reader.connected and reader.reading.is_set():
                assert reader.view == self.database.run(plane.view_of, reader.runtime_id)
                changed = self.database.run(plane.credentials_revision_of, reader.runtime_id)
                assert reader.credentials_revision == changed

    async def _stop(self) -> None:
        for reader in self.readers:
            await reader.disconnect()
        await self.hub.stop()

    async def _turns(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    def _commit(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        result = self.database.run(unit, *args, **kwargs)
        self.hub.wake()
        return result


Walk.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class TestWalk(Walk.TestCase):  # type: ignore[misc,valid-type]  # made at run time by hypothesis
    """No reader sees a revision twice, torn or backwards, and each ends with exactly its view."""


LongWalk = type("LongWalk", (Walk,), {})
LongWalk.TestCase.settings = settings(Walk.TestCase.settings, max_examples=1000, stateful_step_count=60)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestLongWalk(LongWalk.TestCase):  # type: ignore[misc,name-defined]
    """The same for a thousand rounds."""

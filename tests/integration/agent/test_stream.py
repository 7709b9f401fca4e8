"""The agent's side of the configuration stream, over a real connection to a Director's double."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import pytest
from moorage.director.v1 import director_pb2
from moorage.director.v1.director_pb2_grpc import add_DirectorServicer_to_server
from moorage.errors.v1.errors_pb2 import Reason

from agent.configuration import Configuration
from agent.status import Counts
from agent.stream import ConfigurationStream
from certs.identity import IdentityReason, IdentityRefused
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from mesh.errors import Refusal
from mesh.server import MeshServer, Service
from tests.integration.agent.doubles import DirectorDouble, Stream
from tests.support.configurations import application_id_of, delta, snapshot, whole
from tests.support.identities import Mint

RUNTIME_ID = str(uuid.UUID(int=7))
DIRECTOR = director_pb2.DESCRIPTOR.services_by_name["Director"]


class RecordingBackoff(Backoff):
    """Waits next to nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(timedelta(milliseconds=1), timedelta(milliseconds=1))
        self.at_least: list[timedelta | None] = []

    def next(self, at_least: timedelta | None = None) -> float:
        self.at_least.append(at_least)
        return super().next()


@dataclass
class Scene:
    """A stream that is held open, and what came of it."""

    director: DirectorDouble
    channels: list[LiveChannel]
    """One for each identity of the Runtime: `renew` goes on to the next."""
    faults: list[Exception] = field(default_factory=list)
    backoff: RecordingBackoff = field(default_factory=RecordingBackoff)
    counts: Counts = field(default_factory=Counts)
    configurations: "asyncio.Queue[Configuration]" = field(default_factory=asyncio.Queue)
    connected: "asyncio.Queue[bool]" = field(default_factory=asyncio.Queue)
    task: "asyncio.Task[None] | None" = None
    stream: ConfigurationStream | None = None

    def start(self, held: Configuration | None = None) -> None:
        self.stream = ConfigurationStream(
            RUNTIME_ID,
            self.channel,
            held,
            self.backoff,
            self.counts,
            on_configuration=self.configurations.put_nowait,
            on_connected=self.connected.put_nowait,
            on_counted=lambda: None,
        )
        self.task = asyncio.create_task(self.stream.run())

    def channel(self) -> grpc.aio.Channel:
        if self.faults:
            raise self.faults.pop()
        return self.channels[0].channel

    def renew(self) -> None:
        assert self.stream is not None
        self.channels.append(self.channels.pop(0))
        self.stream.renew()

    async def opened(self) -> Stream:
        """The next stream that the Director is asked for."""
        return await self.director.streams.get()


@pytest.fixture
async def at(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    mint = Mint(tmp_path_factory.mktemp("identities"))
    director = DirectorDouble()  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
    service = Service(DIRECTOR, lambda server: add_DirectorServicer_to_server(director, server))
    server = MeshServer("127.0.0.1:0", mint.identity("service", "director"), [service])
    address = f"127.0.0.1:{await server.start()}"
    channels = [LiveChannel(address, mint.identity("runtime", RUNTIME_ID)) for _ in range(2)]
    scene = Scene(director, channels)
    yield scene
    if scene.task:
        scene.task.cancel()
        await asyncio.wait((scene.task,))
    for channel in channels:
        await channel.close()
    await server.stop()


@pytest.mark.check("stream-01")
async def test_a_fresh_stream_begins_with_all_there_is(at: Scene) -> None:
    at.director.change({1: 1, 2: 1})
    at.start()
    assert (await at.opened()).resumed_from is None
    assert await at.configurations.get() == whole({1: 1, 2: 1}, 2)
    assert await at.connected.get()
    assert (at.counts.streams_opened, at.counts.snapshots, at.counts.deltas) == (1, 1, 0)


@pytest.mark.check("stream-03")
async def test_of_many_changes_each_comes_once_and_the_last_is_there(at: Scene) -> None:
    at.start()
    await at.configurations.get()
    for version in range(1, 101):
        at.director.change({1: version})
    revisions = [(await at.configurations.get()).revision for _ in range(100)]
    assert revisions == list(range(2, 102))
    assert at.configurations.empty()


@pytest.mark.check("stream-21")
async def test_a_change_of_many_messages_comes_as_one(at: Scene) -> None:
    at.start()
    await at.configurations.get()
    many = dict.fromkeys(range(1, 50), 1)
    at.director.change(many, chunk=3)
    assert await at.configurations.get() == whole(many, 2)


@pytest.mark.check("stream-06")
async def test_a_stream_that_ends_is_resumed_where_it_was(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    await at.configurations.get()
    at.director.end_streams()
    await at.opened()
    assert (await at.opened()).resumed_from == 2
    at.director.change({1: 1, 2: 1})
    assert await at.configurations.get() == whole({1: 1, 2: 1}, 3)
    assert at.counts.snapshots == 1


@pytest.mark.check("stream-06")
async def test_a_stream_from_the_cache_gets_only_what_changed_since(at: Scene) -> None:
    at.director.change({1: 1})
    at.director.change({1: 1, 2: 1})
    at.start(held=whole({1: 1}, 2))
    assert await at.configurations.get() == whole({1: 1, 2: 1}, 3)
    assert (at.counts.snapshots, at.counts.deltas) == (0, 1)


@pytest.mark.check("stream-09")
async def test_what_was_deleted_while_the_agent_was_away_is_gone(at: Scene) -> None:
    at.director.change({1: 1, 2: 1})
    at.director.change({2: 1})
    at.start(held=whole({1: 1, 2: 1}, 2))
    assert list((await at.configurations.get()).applications) == [application_id_of(2)]


async def test_content_that_does_not_have_its_hash_is_dropped_and_asked_for_anew(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    await at.configurations.get()
    [wrong] = delta({1: 1}, {1: 2}, 3)
    wrong.content_sha256 = "0" * 64
    stream = await at.opened()
    at.director.history.append({1: 2})
    stream.to_send.put_nowait([wrong])
    assert (await at.opened()).resumed_from is None
    assert await at.configurations.get() == whole({1: 2}, 3)
    assert at.configurations.empty()


async def test_a_change_cut_off_in_the_middle_is_dropped(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    await at.configurations.get()
    stream = await at.opened()
    parts = delta({1: 1}, {2: 1, 3: 1}, 3, chunk=1)
    stream.to_send.put_nowait(parts[:1])
    stream.to_send.put_nowait(None)
    at.director.history.append({2: 1, 3: 1})
    assert (await at.opened()).resumed_from == 2
    assert await at.configurations.get() == whole({2: 1, 3: 1}, 3)


async def test_the_director_says_when_to_come_again(at: Scene) -> None:
    wait = timedelta(seconds=3)
    at.director.refusals = [Refusal(Reason.REASON_NOT_READY, "not yet", retry_after=wait)]
    at.start()
    await at.configurations.get()
    assert at.backoff.at_least == [wait]


async def test_a_stream_that_the_director_ends_in_order_is_resumed_as_it_says_and_is_no_failure(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    await at.configurations.get()
    for _ in range(3):
        stream = await at.opened()
        wait = timedelta(milliseconds=1)
        stream.to_send.put_nowait(Refusal(Reason.REASON_NOT_READY, "the stream has reached its age", retry_after=wait))
    assert (await at.opened()).resumed_from == 2
    assert at.backoff.at_least == []
    at.director.change({1: 2})
    assert await at.configurations.get() == whole({1: 2}, 3)
    assert (at.counts.streams_opened, at.counts.snapshots) == (4, 1)


@pytest.mark.check("stream-17")
async def test_a_renewal_opens_the_next_stream_before_it_ends_the_one_before(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    first = await at.opened()
    await at.configurations.get()
    at.renew()
    second = await at.opened()
    assert second.resumed_from == 2
    await first.ended.wait()
    assert at.director.open == {second}
    assert at.director.most_open == 2
    at.director.change({1: 2})
    assert await at.configurations.get() == whole({1: 2}, 3)
    assert (at.counts.streams_opened, at.counts.snapshots) == (2, 1)
    assert await at.connected.get()
    assert at.connected.empty()


async def test_what_two_streams_bring_during_a_renewal_is_taken_once(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    first = await at.opened()
    await at.configurations.get()
    at.director.opening = lambda _: ()  # the second stream begins with what this test sends
    at.renew()
    second = await at.opened()
    at.director.history.append({1: 2})
    change = delta({1: 1}, {1: 2}, 3)
    first.to_send.put_nowait(change)
    assert await at.configurations.get() == whole({1: 2}, 3)
    second.to_send.put_nowait(change)
    await first.ended.wait()
    at.director.change({1: 3})
    assert await at.configurations.get() == whole({1: 3}, 4)


async def test_a_renewal_that_the_director_does_not_honour_leaves_the_stream_as_it_is(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    first = await at.opened()
    await at.configurations.get()
    at.director.refusals = [Refusal(Reason.REASON_ACCESS_DENIED, "no") for _ in range(2)]
    at.renew()
    await at.opened()
    await at.opened()
    await at.opened()
    await first.ended.wait()
    assert await at.connected.get()
    assert at.connected.empty()


@pytest.mark.check("stream-08")
async def test_a_plane_that_was_set_back_is_followed(at: Scene) -> None:
    at.director.opening = lambda _: snapshot({1: 1}, 1)
    at.start(held=whole({1: 5}, 40))
    assert (await at.opened()).resumed_from == 40
    assert await at.configurations.get() == whole({1: 1}, 1)


async def test_without_an_identity_the_stream_waits_for_one(at: Scene) -> None:
    at.faults = [IdentityRefused(IdentityReason.MISSING, "gone")]
    at.start()
    assert (await at.configurations.get()).revision == 1
    assert at.backoff.at_least == [None]


async def test_a_stream_whose_channel_was_closed_is_resumed_on_another(at: Scene) -> None:
    at.director.change({1: 1})
    at.start()
    await at.opened()
    await at.configurations.get()
    closed, at.channels = at.channels[0], at.channels[::-1]
    await closed.close()
    assert (await at.opened()).resumed_from == 2
    at.director.change({1: 2})
    assert await at.configurations.get() == whole({1: 2}, 3)


async def test_a_stream_that_is_stopped_is_cancelled_at_the_director(at: Scene) -> None:
    at.start()
    stream = await at.opened()
    await at.configurations.get()
    assert at.task is not None
    at.task.cancel()
    await stream.ended.wait()

"""How a service's list of revocations is kept up to date, whatever becomes of what it is heard from."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.aio import Metadata
from moorage.connector.v1.revocation_pb2 import RevocationResumePoint, WatchRevocationsResponse
from moorage.errors.v1.errors_pb2 import Reason
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mesh.backoff import Backoff
from mesh.errors import Refusal
from mesh.revocations import Revocations, RevocationWatch
from tests.support.revocations import BOOKMARK, DELTA, OTHER_LEDGER, SNAPSHOT, message, snapshot
from tests.support.wait import eventually

Step = WatchRevocationsResponse | Exception


class Script:
    """A source that gives what it was told to, one list of steps a stream, and then waits for ever."""

    def __init__(self, *streams: list[Step]) -> None:
        self.streams = list(streams)
        self.resumes: list[int | None] = []
        self.closed = 0

    async def __call__(self, resume: RevocationResumePoint | None) -> AsyncGenerator[WatchRevocationsResponse, None]:
        self.resumes.append(None if resume is None else resume.revision)
        try:
            for step in self.streams.pop(0) if self.streams else []:
                if isinstance(step, Exception):
                    raise step
                yield step
            if not self.streams:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


async def test_a_stream_that_ends_or_fails_is_resumed_where_it_was() -> None:
    source, revocations = (
        Script([snapshot()], [message(DELTA, 2), OSError("away")], [message(BOOKMARK, 3)]),
        Revocations(),
    )
    async with watching(source, revocations):
        await until("all was heard", lambda: held(revocations) == 3)
    assert source.resumes == [None, 1, 2]
    assert source.closed == 3


async def test_a_message_that_does_not_follow_begins_the_stream_anew() -> None:
    source = Script([snapshot()], [message(DELTA, 5, ledger=OTHER_LEDGER)], [message(SNAPSHOT, 7, authorities=["aa"])])
    revocations = Revocations()
    async with watching(source, revocations):
        await until("the next snapshot was taken", lambda: held(revocations) == 7)


async def test_a_stream_that_falls_silent_is_given_up() -> None:
    source, revocations = Script([snapshot()]), Revocations()
    async with watching(source, revocations, silence=0.1):
        await until("it was begun anew", lambda: len(source.resumes) > 2)
    assert source.resumes[:2] == [None, 1]


async def test_the_first_list_is_waited_for_and_a_first_failure_ends_the_wait() -> None:
    async with watching(Script([snapshot()]), revocations := Revocations()) as watch:
        await watch.first(within=20)
        assert held(revocations) == 1
    async with watching(Script([OSError("away")]), revocations := Revocations()) as watch:
        await watch.first(within=20)
        assert revocations.resume is None


async def test_what_was_heard_is_kept_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "revocations"
    async with watching(Script([snapshot(serials=["01"])]), Revocations(cache=cache)):
        await until("it is kept", lambda: held(Revocations(cache=cache)) == 1)


async def test_a_cache_that_cannot_be_written_is_told_and_nothing_else(tmp_path: Path) -> None:
    revocations = Revocations(cache=tmp_path / "missing" / "revocations")
    with capture_logs() as lines:
        async with watching(Script([snapshot()], [message(BOOKMARK, 2)]), revocations):
            await until("it went on", lambda: held(revocations) == 2)
            await until("it is told", lambda: "the list of revocations is not kept" in events(lines))


async def test_the_age_of_the_list_is_a_metric() -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    revocations = Revocations(lambda: now[0])
    async with watching(Script([snapshot()]), revocations):
        await until("the list came", lambda: held(revocations) == 1)
        now[0] += timedelta(seconds=90)
        assert REGISTRY.get_sample_value("moorage_revocations_age_seconds") == 90


async def test_without_a_list_its_age_is_without_bound() -> None:
    async with watching(Script([]), Revocations()):
        assert REGISTRY.get_sample_value("moorage_revocations_age_seconds") == float("inf")


async def test_a_list_that_grows_old_is_told_once_and_so_is_one_that_is_heard_of_again() -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    revocations = Revocations(lambda: now[0])
    with capture_logs() as lines:
        async with watching(Script([snapshot()]), revocations, stale_after=timedelta(seconds=30)):
            await until("the list came", lambda: held(revocations) == 1)
            now[0] += timedelta(seconds=31)
            await until("it is told", lambda: "the list of revocations is stale" in events(lines))
            now[0] -= timedelta(seconds=31)
            await until("that, too", lambda: "the list of revocations is fresh" in events(lines))
    assert events(lines).count("the list of revocations is stale") == 1


async def test_what_cannot_be_heard_from_is_told_once() -> None:
    away: list[list[Step]] = [[OSError("away")] for _ in range(5)]
    with capture_logs() as lines:
        async with watching(Script(*away, [snapshot()]), revocations := Revocations()):
            await until("the list came", lambda: held(revocations) == 1)
    assert events(lines) == ["revocations are not heard of", "revocations are heard of again"]


async def test_a_stream_that_ends_in_order_is_resumed_and_nothing_is_told() -> None:
    source, revocations = Script([snapshot(), not_ready()], [message(BOOKMARK, 2)]), Revocations()
    with capture_logs() as lines:
        async with watching(source, revocations):
            await until("it went on", lambda: held(revocations) == 2)
    assert events(lines) == []


async def test_a_connector_that_turns_away_before_it_says_anything_is_told_of() -> None:
    source, revocations = Script([not_ready()], [snapshot()]), Revocations()
    with capture_logs() as lines:
        async with watching(source, revocations):
            await until("the list came", lambda: held(revocations) == 1)
    assert events(lines) == ["revocations are not heard of", "revocations are heard of again"]


def not_ready() -> grpc.aio.AioRpcError:
    """What a client sees of a stream that is old, or whose server stops."""
    status = Refusal(Reason.REASON_NOT_READY, "the stream has reached its age").to_status()
    details = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), details)


def held(revocations: Revocations) -> int | None:
    return None if revocations.resume is None else revocations.resume.revision


def events(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each["event"] for each in lines]


@asynccontextmanager
async def watching(
    source: Script, revocations: Revocations, *, silence: float = 30.0, stale_after: timedelta = timedelta(hours=1)
) -> AsyncIterator[RevocationWatch]:
    backoff = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=5))
    watch = RevocationWatch(source, revocations, backoff, silence=silence, stale_after=stale_after)
    task = asyncio.create_task(watch.run())
    yield watch
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(what: str, look: Callable[[], bool]) -> None:
    async def looked() -> bool:
        return look()

    await eventually(what, looked)

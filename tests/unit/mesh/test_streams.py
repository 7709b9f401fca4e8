"""Until when a stream lasts, and what its reader is told at its end."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from moorage.errors.v1.errors_pb2 import Reason

from certs.spiffe import SpiffeId
from mesh.call import Caller
from mesh.errors import Refusal
from mesh.streams import RESUME_AFTER, Stream, Streams

NOW = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = 3600.0
REVOKED = Refusal(Reason.REASON_CERTIFICATE_REVOKED, "revoked")


def caller(lifetime: timedelta = timedelta(days=1)) -> Caller:
    return Caller(SpiffeId("moorage.test", "/admin/ann"), "01", NOW + lifetime)


def streams(age: float | None, jitter: float = 0.5) -> Streams:
    return Streams(lambda: NOW, age, lambda: jitter)


async def lasts(of: Streams, whose: Caller | None) -> float | None:
    """For how many seconds a stream of that party may; None for ever."""
    async with asyncio.timeout(None) as limit:
        with of.open("/x.X/Watch", limit) as stream:
            stream.admitted(whose)
            stream.begun()
            await asyncio.sleep(0)
            end = limit.when()
            return None if end is None else end - asyncio.get_running_loop().time()


async def ended(of: Streams, whose: Caller | None, refusal: Refusal | None = None) -> Refusal | None:
    """Why a stream of that party ended whose time is up, or that was ended for a reason."""
    stream: Stream | None = None
    try:
        async with asyncio.timeout(None) as limit:
            with of.open("/x.X/Watch", limit) as stream:
                stream.admitted(whose)
                stream.begun()
                if refusal is not None:
                    stream.end(refusal)
                await asyncio.Event().wait()
    except TimeoutError as error:
        assert stream is not None
        return stream.why_ended(error)
    return None


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 0.9 * HOUR), (0.5, HOUR), (1.0, 1.1 * HOUR)])
async def test_a_stream_lasts_for_its_age_more_or_less_a_tenth(jitter: float, seconds: float) -> None:
    for whose in (caller(), None):
        assert await lasts(streams(HOUR, jitter), whose) == pytest.approx(seconds, abs=1)


async def test_a_stream_without_an_age_lasts_as_long_as_its_callers_certificate() -> None:
    assert await lasts(streams(None), None) is None
    assert await lasts(streams(None), caller(timedelta(minutes=5))) == pytest.approx(300, abs=1)


async def test_of_its_age_and_its_certificate_the_earlier_one_ends_a_stream() -> None:
    assert await lasts(streams(HOUR), caller(timedelta(minutes=5))) == pytest.approx(300, abs=1)
    assert await lasts(streams(60), caller(timedelta(minutes=5))) == pytest.approx(60, abs=1)


async def test_a_reader_whose_stream_is_old_is_asked_to_resume_at_once() -> None:
    refusal = await ended(streams(0), caller())
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == (Reason.REASON_NOT_READY, RESUME_AFTER)


async def test_a_reader_whose_certificate_ended_is_told_so_however_old_its_stream_is() -> None:
    refusal = await ended(streams(0), caller(timedelta(0)))
    assert refusal is not None
    assert refusal.reason == Reason.REASON_CERTIFICATE_EXPIRED


async def test_a_stream_that_was_ended_for_a_reason_tells_that_one() -> None:
    assert await ended(streams(0), caller(), REVOKED) is REVOKED


async def test_a_stream_is_not_cut_off_while_it_begins_but_told_then_why_it_ends() -> None:
    limit = asyncio.timeout(None)
    async with limit:
        with streams(0).open("/x.X/Watch", limit) as stream:
            stream.admitted(caller(timedelta(0)))
            stream.end(REVOKED)
            assert limit.when() is None
            with pytest.raises(Refusal) as ended:
                stream.begun()
    assert ended.value is REVOKED


async def test_a_stream_whose_reader_takes_no_message_ends() -> None:
    of = Streams(lambda: NOW, write_timeout=0.02)
    stream: Stream | None = None
    try:
        async with asyncio.timeout(None) as limit:
            with of.open("/x.X/Watch", limit) as stream:
                stream.admitted(caller())
                stream.begun()
                stream.writing()
                await asyncio.Event().wait()
    except TimeoutError as error:
        assert stream is not None
        refusal = stream.why_ended(error)
        assert refusal is not None
        assert (refusal.reason, refusal.retry_after) == (Reason.REASON_NOT_READY, timedelta(seconds=1))


async def test_a_stream_whose_messages_are_taken_goes_on() -> None:
    of, loop = Streams(lambda: NOW, write_timeout=0.02), asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        with of.open("/x.X/Watch", limit) as stream:
            stream.begun()
            end = loop.time() + 0.1
            while loop.time() < end:
                stream.writing()
                await asyncio.sleep(0)
                stream.written()
    assert not limit.expired()

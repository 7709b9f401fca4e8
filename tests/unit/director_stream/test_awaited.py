"""What agents were sent and are still to report about."""

from collections.abc import Callable
from typing import Any

import pytest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest

from director.stream.hub import Hub
from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.reader import Reader
from tests.unit.director_stream.story import Story, up_to_date


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hub(start_hub: Callable[..., Any], clock: Clock) -> Hub:
    started: Hub = await start_hub(now=clock)
    return started


@pytest.fixture
async def agent(database: Database, story: Story, read: Callable[..., Reader]) -> Reader:
    """One that has just been sent its first configuration."""
    reader = read(story.runtime)
    reader.connect()
    await up_to_date(database, reader)
    return reader


async def test_content_is_overdue_after_the_time_and_not_before(agent: Reader, hub: Hub, clock: Clock) -> None:
    clock.now += 300
    assert hub.overdue(300) == {}
    clock.now += 1
    assert hub.overdue(300) == {agent.runtime_id: agent.revision}


async def test_more_content_does_not_put_off_what_is_overdue(
    database: Database, story: Story, agent: Reader, hub: Hub, clock: Clock
) -> None:
    first = agent.revision
    clock.now += 200
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, agent)
    clock.now += 101
    assert hub.overdue(300) == {agent.runtime_id: first}


async def test_what_came_after_an_answer_is_awaited_from_when_it_was_sent(
    database: Database, story: Story, agent: Reader, hub: Hub, clock: Clock
) -> None:
    first = agent.revision
    clock.now += 200
    await database.write(plane.describe, story.application, description="new")
    await up_to_date(database, agent)
    hub.answered({agent.runtime_id: first})
    clock.now += 299
    assert hub.overdue(300) == {}
    clock.now += 2
    assert hub.overdue(300) == {agent.runtime_id: agent.revision}


async def test_who_has_answered_everything_is_not_overdue(agent: Reader, hub: Hub, clock: Clock) -> None:
    hub.answered({agent.runtime_id: agent.revision})
    clock.now += 1000
    assert hub.overdue(300) == {}


async def test_an_answer_to_what_came_before_is_none(agent: Reader, hub: Hub, clock: Clock) -> None:
    hub.answered({agent.runtime_id: agent.revision - 1})
    clock.now += 1000
    assert hub.overdue(300) == {agent.runtime_id: agent.revision}


async def test_a_resume_without_news_awaits_nothing(database: Database, agent: Reader, hub: Hub, clock: Clock) -> None:
    await agent.disconnect()
    agent.connect(resume=True)
    await up_to_date(database, agent)
    await agent.until(lambda each: len(each.messages) == 1)
    clock.now += 1000
    assert hub.overdue(300) == {}


async def test_a_resume_with_news_awaits_them(
    database: Database, story: Story, agent: Reader, hub: Hub, clock: Clock
) -> None:
    await agent.disconnect()
    await database.write(plane.describe, story.application, description="new")
    agent.connect(resume=True)
    await up_to_date(database, agent)
    clock.now += 1000
    assert hub.overdue(300) == {agent.runtime_id: agent.revision}


async def test_nothing_is_awaited_of_who_is_gone(agent: Reader, hub: Hub, clock: Clock) -> None:
    await agent.disconnect()
    clock.now += 1000
    assert hub.overdue(300) == {}


async def test_nothing_is_awaited_of_an_operator_who_looks_on(story: Story, hub: Hub, clock: Clock) -> None:
    stream = hub.watch(WatchConfigurationRequest(runtime_id=story.runtime), by_agent=False)
    await anext(stream)
    clock.now += 1000
    assert hub.overdue(300) == {}
    await stream.aclose()

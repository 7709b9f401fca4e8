"""What is forgotten, and what is not."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, ListApplicationsRequest
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, RemoveGroupMembersRequest
from sqlalchemy import insert, update

from director import retention
from director.applications import create_application, list_applications
from director.changes import read_plane
from director.group_members import add_group_members, remove_group_members
from director.retention import Forgetting, Retention
from director.store import tables
from director.store.changes import recount
from director.store.retention import forget_all_but, forget_changes
from director.times import to_micros
from tests.support.wait import eventually
from tests.unit.director.plane import BEGIN, Plane, new_id

KEPT = Retention(changes=timedelta(days=7), revisions=0, replies=timedelta(days=1), notices=timedelta(days=30))


async def forget(plane: Plane, after: timedelta, revisions: int = 0) -> None:
    await Forgetting(plane.database, replace(KEPT, revisions=revisions), lambda: BEGIN + after).forget()


def horizon(plane: Plane) -> int:
    with plane.transaction() as tx:
        return read_plane(tx).horizon


async def test_a_change_is_kept_for_its_time_and_then_the_horizon_passes_it(plane: Plane) -> None:
    for _ in range(3):  # one second apart
        plane.application()
    await forget(plane, timedelta(days=7))
    assert (horizon(plane), len(plane.changes_since(0))) == (0, 3)
    await forget(plane, timedelta(days=7, seconds=2))
    assert (horizon(plane), [change.revision for change in plane.changes_since(0)]) == (2, [3])


async def test_of_changes_however_young_so_many_are_kept_and_the_horizon_passes_the_others(plane: Plane) -> None:
    for _ in range(5):
        plane.application()
    await forget(plane, timedelta(), revisions=5)
    assert (horizon(plane), len(plane.changes_since(0))) == (0, 5)
    await forget(plane, timedelta(), revisions=2)
    assert (horizon(plane), [change.revision for change in plane.changes_since(0)]) == (3, [4, 5])


async def test_of_the_time_and_the_count_the_one_that_keeps_less_holds(plane: Plane) -> None:
    for _ in range(5):
        plane.application()
    await forget(plane, timedelta(days=7, seconds=4), revisions=3)
    assert (horizon(plane), [change.revision for change in plane.changes_since(0)]) == (4, [5])


async def test_a_log_that_is_too_long_is_shortened_in_units_while_changes_go_on(plane: Plane) -> None:
    for _ in range(5):
        plane.application()
    kept = []
    for _ in range(4):
        with plane.transaction() as tx:
            shortened = forget_all_but(tx, 2, 2)
        plane.application()
        kept.append((shortened, plane.revision - horizon(plane)))
    assert kept == [(True, 4), (True, 3), (True, 3), (True, 3)]


async def test_between_two_rounds_the_length_of_the_log_is_looked_at(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK", timedelta(0))
    forgetting = Forgetting(plane.database, replace(KEPT, revisions=2), lambda: BEGIN)
    await forgetting.start()
    for _ in range(5):
        plane.application()

    async def short() -> bool:
        return horizon(plane) == 3

    await eventually("the log is shortened", short)
    await forgetting.stop()


async def test_a_log_longer_than_one_unit_of_work_is_forgotten_whole(plane: Plane) -> None:
    for _ in range(5):
        plane.application()
    step = partial(forget_changes, before=to_micros(BEGIN + timedelta(days=1)), most=2)
    with plane.transaction() as tx:
        assert [step(tx) for _ in range(4)] == [True, True, True, False]
    assert horizon(plane) == 5
    assert plane.revision == 5


async def test_what_a_release_without_counts_made_is_counted_in_time(plane: Plane) -> None:
    for _ in range(3):
        plane.application()
    with plane.transaction() as tx:
        tx.execute(update(tables.plane).values(applications=0, groups=7))
    await forget(plane, timedelta())
    listed = plane.read(list_applications, ListApplicationsRequest(page_size=1))
    assert (listed.total_size, plane.rows(tables.plane)[0]["groups"]) == (3, 0)
    with plane.transaction() as tx:
        assert not recount(tx)


async def test_ended_memberships_go_with_the_log_and_living_ones_stay(plane: Plane) -> None:
    stays, left, runtime = plane.application(), plane.application(), plane.runtime()
    group = plane.group("all", [stays.application_id, left.application_id], [runtime.runtime_id])
    removal = RemoveGroupMembersRequest(group_id=group.group_id, application_ids=[left.application_id])
    plane.change(remove_group_members, removal)
    await forget(plane, timedelta(days=8))
    assert len(plane.rows(tables.group_applications)) == 1
    assert plane.served(runtime.runtime_id) == {stays.application_id}
    addition = AddGroupMembersRequest(group_id=group.group_id, application_ids=[left.application_id])
    plane.change(add_group_members, addition)
    assert plane.served(runtime.runtime_id) == {stays.application_id, left.application_id}


async def test_a_first_answer_is_given_again_for_its_time(plane: Plane) -> None:
    request = CreateApplicationRequest(application=Application(name="orders"), request_id=new_id())
    plane.change(create_application, request)
    await forget(plane, timedelta(days=1))
    assert len(plane.rows(tables.replies)) == 1
    await forget(plane, timedelta(days=1, seconds=1))
    assert plane.rows(tables.replies) == []


async def test_notices_that_wait_are_kept_for_ever_and_settled_ones_for_their_time(plane: Plane) -> None:
    settled = to_micros(BEGIN)
    notice = {"application_id": new_id(), "type": "RUNTIME_READY", "body": "{}", "revision": 1, "create_time": settled}
    with plane.transaction() as tx:
        for state, time in (("WAITING", None), ("DELIVERED", settled), ("FAILED", settled)):
            tx.execute(insert(tables.notices).values(notice_id=new_id(), state=state, settle_time=time, **notice))
    await forget(plane, timedelta(days=30))
    assert len(plane.rows(tables.notices)) == 3
    await forget(plane, timedelta(days=31))
    assert [row["state"] for row in plane.rows(tables.notices)] == ["WAITING"]


async def test_a_round_that_fails_is_followed_by_the_next(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = asyncio.Queue[int]()

    class Failing(Forgetting):
        async def forget(self) -> None:
            rounds.put_nowait(1)
            raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(retention, "INTERVAL", timedelta(0))
    forgetting = Failing(plane.database, KEPT, lambda: BEGIN)
    await forgetting.start()
    async with asyncio.timeout(10):
        for _ in range(3):
            await rounds.get()
    await forgetting.stop()

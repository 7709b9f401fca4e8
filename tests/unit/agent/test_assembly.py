"""Whole configurations out of a stream's messages, or nothing."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_UNSPECIFIED,
    RESET_REASON_COMPACTED,
    WatchConfigurationResponse,
)

from agent.assembly import Assembly, StreamReason, StreamRefused
from agent.configuration import Configuration
from tests.support.configurations import (
    OTHER_PLANE,
    Shape,
    application_id_of,
    bookmark,
    delta,
    messages,
    snapshot,
    whole,
)


def take_all(assembly: Assembly, parts: Sequence[WatchConfigurationResponse]) -> list[Configuration]:
    return [taken for taken in map(assembly.take, parts) if taken is not None]


shapes = st.dictionaries(st.integers(1, 8), st.integers(1, 3), max_size=6)


@pytest.mark.check("stream-21")
@given(st.lists(st.tuples(shapes, st.sampled_from(["delta", "snapshot"]), st.integers(1, 3)), min_size=1, max_size=6))
def test_any_history_in_any_chunks_gives_each_configuration_once_and_whole(
    steps: list[tuple[Shape, str, int]],
) -> None:
    assembly, held = Assembly(None), dict[int, int]()
    for revision, (shape, kind, chunk) in enumerate(steps, start=1):
        if kind == "snapshot" or revision == 1:
            parts = snapshot(shape, revision, chunk)
        else:
            parts = delta(held, shape, revision, chunk)
        assert take_all(assembly, parts) == [whole(shape, revision)]
        held = dict(shape)


@given(shapes, shapes, st.data())
def test_a_revision_cut_off_before_its_end_gives_nothing(before: Shape, after: Shape, data: st.DataObject) -> None:
    assembly = Assembly(whole(before, 1))
    parts = delta(before, after, 2, chunk=1)
    assert take_all(assembly, parts[: data.draw(st.integers(0, len(parts) - 1))]) == []


@given(shapes.filter(bool))
def test_a_change_that_lost_an_application_on_its_way_is_refused(after: Shape) -> None:
    [lossy] = delta({}, after, 2)
    del lossy.applications[0]
    with pytest.raises(StreamRefused) as refused:
        Assembly(whole({}, 1)).take(lossy)
    assert refused.value.reason is StreamReason.CONTENT_MISMATCH


def test_an_empty_snapshot_is_a_configuration() -> None:
    assert take_all(Assembly(None), snapshot({}, 3)) == [whole({}, 3)]


@pytest.mark.check("stream-09")
def test_an_application_that_is_removed_is_gone() -> None:
    [after] = take_all(Assembly(whole({1: 1, 2: 1}, 4)), delta({1: 1, 2: 1}, {2: 1}, 5))
    assert list(after.applications) == [application_id_of(2)]


@pytest.mark.check("stream-10")
def test_a_bookmark_moves_the_revision_and_keeps_the_content() -> None:
    held = whole({1: 1}, 4)
    moved = Assembly(held).take(bookmark(9, held.content_sha256))
    assert moved is not None
    assert (moved.revision, moved.changed_at, moved.content_sha256) == (9, 4, held.content_sha256)


def test_a_bookmark_need_not_repeat_the_hash() -> None:
    assert Assembly(whole({1: 1}, 4)).take(bookmark(4)) == whole({1: 1}, 4)


def test_word_of_credentials_is_a_change_of_the_configuration_that_it_comes_with() -> None:
    held = whole({1: 1}, 4)
    told = bookmark(9, held.content_sha256)
    told.credentials_revision = 8
    assembly = Assembly(held)
    changed = assembly.take(told)
    assert changed is not None
    assert (changed.revision, changed.changed_at, changed.credentials_revision) == (9, 9, 8)
    [later] = take_all(assembly, delta({1: 1}, {2: 1}, 12))
    assert (later.changed_at, later.credentials_revision) == (12, 8)


def test_a_snapshot_has_the_last_word_on_credentials() -> None:
    held = whole({1: 1}, 4).with_credentials(3)
    [void] = take_all(Assembly(held), snapshot({1: 1}, 9))
    assert void.credentials_revision == 0
    parts = snapshot({1: 1, 2: 1}, 9, chunk=1)
    parts[-1].credentials_revision = 8
    [told] = take_all(Assembly(held), parts)
    assert told.credentials_revision == 8


@pytest.mark.check("stream-07")
def test_a_reset_replaces_what_was_held() -> None:
    [part] = snapshot({2: 1}, 8)
    part.reset = RESET_REASON_COMPACTED
    assert Assembly(whole({1: 1}, 4)).take(part) == whole({2: 1}, 8)


@pytest.mark.check("stream-08")
def test_a_snapshot_of_another_plane_may_be_of_a_lower_revision() -> None:
    assert take_all(Assembly(whole({1: 1}, 40)), snapshot({2: 1}, 3, plane=OTHER_PLANE)) == [
        whole({2: 1}, 3, OTHER_PLANE)
    ]


HELD: Shape = {1: 1}


def _torn() -> list[WatchConfigurationResponse]:
    return [snapshot({1: 1, 2: 1}, 5, chunk=1)[0], *snapshot({1: 1}, 6)]


def _bookmark_in_the_middle() -> list[WatchConfigurationResponse]:
    return [delta(HELD, {1: 2, 2: 1}, 5, chunk=1)[0], bookmark(5)]


def _snapshot_that_removes() -> list[WatchConfigurationResponse]:
    [part] = snapshot({1: 1}, 5)
    part.removed_application_ids.append(application_id_of(2))
    return [part]


def _path_for_an_id() -> list[WatchConfigurationResponse]:
    [part] = snapshot({1: 1}, 5)
    part.applications[0].application_id = "../../identity/tls"
    return [part]


def _without_hash() -> list[WatchConfigurationResponse]:
    [part] = snapshot({1: 1}, 5)
    part.content_sha256 = ""
    return [part]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        pytest.param(_torn(), StreamReason.TORN, id="another revision in the middle of one"),
        pytest.param(_bookmark_in_the_middle(), StreamReason.TORN, id="a bookmark in the middle of a change"),
        pytest.param(_snapshot_that_removes(), StreamReason.MALFORMED, id="a snapshot that removes"),
        pytest.param(_path_for_an_id(), StreamReason.MALFORMED, id="a path where an id should be"),
        pytest.param(_without_hash(), StreamReason.CONTENT_MISMATCH, id="no hash"),
        pytest.param(delta(HELD, {2: 1}, 4), StreamReason.NOT_INCREASING, id="a change to the revision held"),
        pytest.param([bookmark(3)], StreamReason.NOT_INCREASING, id="a bookmark before the revision held"),
        pytest.param([bookmark(9, "0" * 64)], StreamReason.CONTENT_MISMATCH, id="a bookmark of other content"),
        pytest.param([bookmark(9, plane=OTHER_PLANE)], StreamReason.ANOTHER_PLANE, id="a bookmark of another plane"),
        pytest.param(
            messages(CONFIGURATION_KIND_UNSPECIFIED, 5, ""), StreamReason.MALFORMED, id="a message of no kind"
        ),
    ],
)
def test_a_stream_that_breaks_its_contract_is_refused(
    parts: list[WatchConfigurationResponse], reason: StreamReason
) -> None:
    assembly = Assembly(whole(HELD, 4))
    with pytest.raises(StreamRefused) as refused:
        take_all(assembly, parts)
    assert refused.value.reason is reason


@pytest.mark.parametrize("first", [delta({}, {1: 1}, 1), [bookmark(1)]], ids=["change", "bookmark"])
def test_a_stream_that_was_not_resumed_begins_with_a_snapshot(first: list[WatchConfigurationResponse]) -> None:
    with pytest.raises(StreamRefused) as refused:
        take_all(Assembly(None), first)
    assert refused.value.reason is StreamReason.NOTHING_TO_CHANGE

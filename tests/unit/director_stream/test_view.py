"""What is kept of that which is streamed, and for how long."""

import gc
import weakref

from director.stream.view import Entry, State, Views
from tests.support.wait import wait_for


def entry(application_id: str, content: bytes = b"", revision: int = 1) -> Entry:
    return Entry(application_id, revision, content, content.ljust(32, b"\0"))


def streaming(**groups_of_runtimes: str) -> Views:
    """Views of runtimes whose groups are named by letters; group `x` has the applications `x1` and `all`."""
    views = Views()
    for runtime_id, group_ids in groups_of_runtimes.items():
        views.place(runtime_id, frozenset(group_ids))
    groups = {group_id for group_ids in groups_of_runtimes.values() for group_id in group_ids}
    views.update(
        {group_id: frozenset({f"{group_id}1", "all"}) for group_id in groups},
        {key: entry(key) for key in {"all", *(f"{group_id}1" for group_id in groups)}},
    )
    views.settle(1)
    return views


def test_a_view_shows_what_its_groups_have_each_once_and_in_order() -> None:
    views = streaming(r="ba")
    assert list(views.runtimes["r"].position.state.entries) == ["a1", "all", "b1"]


def test_runtimes_of_the_same_groups_share_one_view() -> None:
    views = streaming(r="ab", s="ba", t="a")
    assert views.runtimes["r"] is views.runtimes["s"]
    assert views.runtimes["r"] is not views.runtimes["t"]


def test_only_the_views_that_show_an_application_change_with_it() -> None:
    views = streaming(r="a", s="b", t="ab")
    views.update({}, {"a1": entry("a1", b"new", 2)})
    assert views.settle(2) == {views.runtimes["r"], views.runtimes["t"]}
    assert views.runtimes["s"].position.revision == 1


def test_members_that_are_as_they_were_change_no_view() -> None:
    views = streaming(r="a")
    views.update({"a": frozenset({"a1", "all"})}, {})
    assert views.settle(2) == set()


def test_what_no_view_has_is_passed_over() -> None:
    views = streaming(r="a")
    views.update({"z": frozenset({"z1"})}, {"z1": entry("z1")})
    assert views.settle(2) == set()
    assert "z1" not in views.applications
    assert "z" not in views.groups


def test_nothing_is_kept_for_runtimes_that_are_gone() -> None:
    views = streaming(r="a", s="b")
    views.remove("r")
    views.remove("s")
    views.settle(2)
    assert not views.applications
    assert not views.groups
    assert not views.runtimes


def test_what_another_runtime_still_sees_is_kept() -> None:
    views = streaming(r="a", s="b")
    views.remove("r")
    views.settle(2)
    assert set(views.applications) == {"b1", "all"}
    assert set(views.groups) == {"b"}


def test_what_one_runtime_leaves_another_can_take_up_in_the_same_reading() -> None:
    views = streaming(r="a")
    views.remove("r")
    views.place("s", frozenset("a"))
    views.settle(2)
    assert list(views.runtimes["s"].position.state.entries) == ["a1", "all"]


def test_an_application_that_goes_from_group_to_group_in_one_reading_is_kept() -> None:
    views = streaming(r="a")
    views.place("s", frozenset("b"))
    views.update({"a": frozenset(), "b": frozenset({"a1"})}, {})
    views.settle(2)
    assert list(views.runtimes["s"].position.state.entries) == ["a1"]


def test_an_application_that_is_gone_is_shown_no_longer() -> None:
    views = streaming(r="a")
    views.update({}, {"a1": None})
    views.settle(2)
    assert list(views.runtimes["r"].position.state.entries) == ["all"]


def test_the_difference_between_two_states_is_what_changed_and_what_is_gone() -> None:
    before = State({key: entry(key) for key in ("changed", "gone", "kept", "rewritten")})
    after = State(
        {"changed": entry("changed", b"new", 2), "kept": before.entries["kept"], "new": entry("new")}
        | {"rewritten": entry("rewritten", revision=2)}
    )
    difference = after.since(before)
    assert [each.application_id for each in difference.changed] == ["changed", "new"]
    assert difference.removed == ("gone",)
    assert not after.since(after)


def test_the_difference_since_a_revision_goes_by_what_was_held_and_what_changed_after_it() -> None:
    state = State({"changed": entry("changed", revision=6), "kept": entry("kept", revision=5), "new": entry("new")})
    difference = state.since_revision(5, {"changed", "kept", "gone"})
    assert [each.application_id for each in difference.changed] == ["changed", "new"]
    assert difference.removed == ("gone",)


def test_an_old_state_and_what_leads_from_it_live_only_as_long_as_a_reader_holds_it() -> None:
    views = streaming(r="a")
    old: State | None = views.runtimes["r"].position.state
    views.update({}, {"a1": entry("a1", b"new", 2)})
    views.settle(2)
    position = views.runtimes["r"].position
    assert old is not None
    position.deltas[old] = (b"delta",)
    watched = weakref.ref(old)
    old = None

    def is_gone() -> bool:
        gc.collect()  # which does nothing while another thread collects
        return watched() is None

    wait_for("the old state is gone", is_gone)
    assert len(position.deltas) == 0

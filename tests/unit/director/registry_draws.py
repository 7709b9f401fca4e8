"""What random requests to the registry are made of: few names, labels and selectors, so that they meet often."""

from typing import Any, NamedTuple

from hypothesis import strategies as st
from moorage.director.v1.label_pb2 import LabelOperator, LabelRequirement, LabelSelector


class How(NamedTuple):
    """How a mutation is asked for: only to be checked, and with which etag."""

    validate_only: bool
    etag: str


PLAINLY = How(False, "none")

ONE = st.integers(0, 9)
"""Which one of those that there are."""

SOME = st.sets(st.integers(0, 4), max_size=3)
KIND = st.sampled_from(["application", "runtime", "group"])
HOW = st.builds(
    How, st.sampled_from([False, False, False, True]), st.sampled_from(["none", "none", "current", "stale"])
)
_KEY, _VALUE = st.sampled_from(["env", "tier"]), st.sampled_from(["x", "y", ""])
LABELS = st.dictionaries(_KEY, _VALUE, max_size=2)
_REQUIREMENT = st.one_of(
    st.builds(
        LabelRequirement,
        key=_KEY,
        operator=st.sampled_from([LabelOperator.LABEL_OPERATOR_IN, LabelOperator.LABEL_OPERATOR_NOT_IN]),
        values=st.lists(_VALUE, min_size=1, max_size=2, unique=True),
    ),
    st.builds(
        LabelRequirement,
        key=_KEY,
        operator=st.sampled_from([LabelOperator.LABEL_OPERATOR_EXISTS, LabelOperator.LABEL_OPERATOR_DOES_NOT_EXIST]),
    ),
)
SELECTOR = st.builds(
    LabelSelector,
    match_labels=st.dictionaries(_KEY, _VALUE, max_size=1),
    match_expressions=st.lists(_REQUIREMENT, max_size=2),
).filter(lambda selector: bool(selector.match_labels or selector.match_expressions))
FIELDS = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcdefgh"),
        "description": st.sampled_from(["", "one", "two"]),
        "labels": LABELS,
        "event_url": st.sampled_from(["", "https://one.test", "https://two.test"]),
        "eventing_runtime_id": st.none() | ONE,
        "application_selector": st.none() | SELECTOR,
        "runtime_selector": st.none() | SELECTOR,
    }
)
FIRST: dict[str, list[Any]] = {
    "name": ["a", "b", "c", "d"],
    "description": [""],
    "labels": [{"env": "x"}, {"env": "y", "tier": "x"}, {}, {"tier": ""}],
    "event_url": ["", "https://one.test"],
    "eventing_runtime_id": [None],
    "application_selector": [
        None,
        LabelSelector(match_labels={"env": "x"}),
        LabelSelector(
            match_expressions=[
                LabelRequirement(key="env", operator=LabelOperator.LABEL_OPERATOR_NOT_IN, values=["y"]),
            ]
        ),
    ],
    "runtime_selector": [
        None,
        None,
        LabelSelector(match_expressions=[LabelRequirement(key="tier", operator=LabelOperator.LABEL_OPERATOR_EXISTS)]),
    ],
}
"""Of what there is from the beginning, one after the other."""

CHANGE = st.tuples(st.integers(0, 4), SOME, SOME, SOME, SOME, st.sampled_from(["none", "none", "stale"]))
"""Of a batch: the group, the Applications to add and to remove, the Runtimes to add and to remove, the etag."""

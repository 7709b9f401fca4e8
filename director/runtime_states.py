"""How a Runtime turns from state to state: by what its agent reports, and by its silence.

A turn is a change of the registry: it takes a revision, and the Applications that serve the Runtime hear of it. Every
turn holds the plane, so reports and sweeps of any number of instances come one after the other, and each judges by what
the one before left. What is missed of a STALE Runtime is in its row: the revision that it says nothing of, or nothing,
where it was silent; so whoever brings it back need not know who turned it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.director.v1.runtime_state_pb2 import RuntimeState

from director.changes import Action, Kind, Mutation
from director.mutate import Occasion
from director.store import Transaction
from director.store import runtime_states as store
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES
from director.store.registry import RUNTIMES, Values
from director.webhooks import outbox

LONGEST_REASON = 300
"""Characters of why a Runtime is in its state; what is longer is cut."""

_PENDING = RuntimeState.RUNTIME_STATE_PENDING
_READY = RuntimeState.RUNTIME_STATE_READY
_STALE = RuntimeState.RUNTIME_STATE_STALE


@dataclass(frozen=True)
class Missed:
    """What makes Runtimes STALE. Times are in microseconds since the epoch, spans in seconds."""

    unseen_since: int
    """Who was not seen since is silent."""

    applying_since: int
    """Who says since then that it is applying is stuck."""

    unanswered: Mapping[str, int]
    """Ids of Runtimes, with the revision of which each has said nothing for too long."""

    stale_after: float
    """How long silence may last."""

    apply_deadline: float
    """How long a configuration may take."""


def settle(
    tx: Transaction, mutation: Mutation, row: Values, revision: int, state: RuntimeState.ValueType, reason: str
) -> None:
    """Have a Runtime in the state that the outcome of a `revision` gives it, for that reason.

    `row` is from before the report. One that is STALE because of a later revision stays so: it has not said what became
    of that.
    """
    is_stale = row["state"] == _STALE
    if is_stale and row["stuck_revision"] is not None and revision < row["stuck_revision"]:
        if row["state_before"] != state:
            RUNTIMES.update(tx, row["runtime_id"], {"state_before": state})
    elif row["state"] != state:
        before = row["state_before"] if is_stale else row["state"]
        # One whose first configurations failed is FAILED, and has run nothing yet all the same.
        is_first = state == _READY and (before == _PENDING or not row["status_sha256"])
        # It has called, whether or not that is written yet: no sweep is to find it silent.
        seen = {"last_seen_time": max(row["last_seen_time"] or 0, mutation.micros)}
        _turn(tx, mutation, row, state, reason, seen, is_first=is_first)
    elif row["state_reason"] != _line(reason):
        RUNTIMES.update(tx, row["runtime_id"], {"state_reason": _line(reason)})


def turn_stale(tx: Transaction, occasion: Occasion, missed: Missed) -> int:
    """Have Runtimes STALE that are silent or stuck, up to three times `store.MOST`; says how many."""
    mutation = _mutation(tx, occasion)
    turned = 0
    for row in store.silent(tx, missed.unseen_since):
        _turn_stale(tx, mutation, row, None, f"neither called nor streamed for {missed.stale_after:g} s")
        turned += 1
    head = mutation.plane.revision
    for row in store.long_applying(tx, missed.applying_since):
        revision = row["status_revision"]
        why = f"it has been applying revision {revision} for more than {missed.apply_deadline:g} s"
        _turn_stale(tx, mutation, row, min(revision, head), why)
        turned += 1
    for row in store.unanswered(tx, missed.unanswered, head):
        revision = missed.unanswered[row["runtime_id"]]
        why = f"it has not said within {missed.apply_deadline:g} s what became of revision {revision}"
        _turn_stale(tx, mutation, row, revision, why)
        turned += 1
    _finish(tx, mutation)
    return turned


def take_back(tx: Transaction, occasion: Occasion, stale_after: int) -> int:
    """Have Runtimes that were silent and are seen again as they were, up to `store.MOST`; says how many.

    `stale_after` is how long silence may last, in microseconds.
    """
    mutation = _mutation(tx, occasion)
    returned = store.returned(tx, stale_after)
    for row in returned:
        _turn(tx, mutation, row, row["state_before"] or _PENDING, "it was seen again")
    _finish(tx, mutation)
    return len(returned)


def _turn_stale(tx: Transaction, mutation: Mutation, row: Values, stuck_revision: int | None, reason: str) -> None:
    _turn(tx, mutation, row, _STALE, reason, {"state_before": row["state"], "stuck_revision": stuck_revision})


def _turn(
    tx: Transaction,
    mutation: Mutation,
    row: Values,
    state: RuntimeState.ValueType,
    reason: str,
    more: Values | None = None,
    *,
    is_first: bool = False,
) -> None:
    runtime_id = row["runtime_id"]
    turned = {
        "state": state,
        "state_time": mutation.micros,
        "state_reason": _line(reason),
        "ready_time": mutation.micros if state == _READY else None,
        "revision": mutation.revision,
    }
    RUNTIMES.update(tx, runtime_id, {**turned, **(more or {})})
    mutation.record(Action.UPDATE, Kind.RUNTIME, runtime_id, runtime_id=runtime_id)
    application_ids = GROUP_APPLICATIONS.in_groups(tx, GROUP_RUNTIMES.groups_of(tx, runtime_id))
    if is_first:
        outbox.runtime_ready(tx, mutation, application_ids, row)
    else:
        outbox.configuration_changed(mutation, application_ids, [runtime_id])


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 3]}..."


def _mutation(tx: Transaction, occasion: Occasion) -> Mutation:
    return Mutation(tx, occasion.time, occasion.actor, occasion.request_id, occasion.new_id)


def _finish(tx: Transaction, mutation: Mutation) -> None:
    outbox.write(tx, mutation)
    mutation.finish()

"""What holds a resource, so that it is not deleted without `force` (AIP-135)."""

from collections.abc import Iterable

from moorage.errors.v1.errors_pb2 import Reason

from director.changes import Action, Kind, Mutation
from director.store import Transaction
from director.store.groups import GROUP_APPLICATIONS, GROUP_RUNTIMES
from director.store.registry import APPLICATIONS
from director.store.serving import read_choosing
from mesh.errors import Refusal, Violation

MOST_NAMED = 20
"""How many of those that hold something a refusal names."""


def check_application(tx: Transaction, id: str) -> None:
    """Raise `Refusal` (RESOURCE_HELD) where groups have the Application by name."""
    groups = GROUP_APPLICATIONS.names_of_holders(tx, id, MOST_NAMED)
    refuse_if_held("application_id", (f"group {name} has it" for name in groups))


def check_runtime(tx: Transaction, id: str) -> None:
    """Raise `Refusal` (RESOURCE_HELD) where groups have the Runtime by name, or Applications send events to it."""
    groups = GROUP_RUNTIMES.names_of_holders(tx, id, MOST_NAMED)
    applications = [name for _, name in read_choosing(tx, id)[:MOST_NAMED]]
    held = [f"group {name} has it" for name in groups] + [
        f"application {name} sends its events to it" for name in applications
    ]
    refuse_if_held("runtime_id", held[:MOST_NAMED])


def check_group(tx: Transaction, id: str) -> None:
    """Raise `Refusal` (RESOURCE_HELD) where the group has members."""
    applications = GROUP_APPLICATIONS.page(tx, id, None, MOST_NAMED)
    runtimes = GROUP_RUNTIMES.page(tx, id, None, MOST_NAMED)
    held = [f"application {row['name']} is in it" for row in applications]
    held += [f"runtime {row['name']} is in it" for row in runtimes]
    refuse_if_held("group_id", held[:MOST_NAMED])


def let_go_of_runtime(tx: Transaction, mutation: Mutation, id: str) -> None:
    """Have the Applications that send their events to a Runtime which goes send them there no longer."""
    choosing = [application_id for application_id, _ in read_choosing(tx, id)]
    stamps = {"update_time": mutation.micros, "revision": mutation.revision}
    APPLICATIONS.update_all(tx, choosing, {"eventing_runtime_id": "", **stamps})
    for application_id in choosing:
        mutation.record(Action.UPDATE, Kind.APPLICATION, application_id, application_id=application_id)


def refuse_if_held(field: str, holders: Iterable[str]) -> None:
    """Raise `Refusal` (RESOURCE_HELD), with a violation of `field` for each of the `holders`, unless there is none."""
    violations = [Violation(field, each) for each in holders]
    if violations:
        raise Refusal(Reason.REASON_RESOURCE_HELD, f"it is held: {violations[0].description}", violations=violations)

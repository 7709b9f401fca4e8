"""What an Application's own view is made of."""

from collections.abc import Iterable

from moorage.director.v1.configuration_pb2 import ServedRuntime
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from certs.spiffe import SpiffeId
from director.store.serving import Served


def message_of(served: Served, trust_domain: str) -> ServedRuntime:
    """What an Application is told of a Runtime."""
    return ServedRuntime(
        runtime_id=served.runtime_id,
        name=served.name,
        ready=served.state == RuntimeState.RUNTIME_STATE_READY,
        event_url=served.event_url,
        spiffe_id=str(SpiffeId.runtime(trust_domain, served.runtime_id)),
        state=RuntimeState.ValueType(served.state),
    )


def eventing_target(chosen: str, served: Iterable[Served]) -> str:
    """Where an Application sends its events by default; empty where that is nowhere.

    The `chosen` Runtime, where it serves that one, else the one that has been READY for longest.
    """
    oldest: tuple[int, str] | None = None
    for each in served:
        if each.runtime_id == chosen:
            return chosen
        if each.ready_time is not None and (oldest is None or (each.ready_time, each.runtime_id) < oldest):
            oldest = (each.ready_time, each.runtime_id)
    return oldest[1] if oldest else ""

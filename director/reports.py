"""Reports: an agent's word on what became of a revision, and what follows from it for the Runtime's state."""

import json

from moorage.director.v1.configuration_pb2 import (
    ReportConfigurationRequest,
    ReportConfigurationResponse,
    ReportState,
)
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from director import resource, runtime_states
from director.changes import Mutation
from director.kinds import RUNTIME
from director.store import Transaction
from director.store.registry import RUNTIMES, Values

_STATE_AFTER = {
    ReportState.REPORT_STATE_APPLIED: RuntimeState.RUNTIME_STATE_READY,
    ReportState.REPORT_STATE_FAILED: RuntimeState.RUNTIME_STATE_FAILED,
}


def report_configuration(
    tx: Transaction, mutation: Mutation, request: ReportConfigurationRequest
) -> ReportConfigurationResponse:
    """Keep the report, unless one about a newer revision came before; raises `Refusal` (RUNTIME_NOT_FOUND).

    A report alone is no change of the registry and takes no revision. One that turns the Runtime's state is: the
    Applications that it is served by see the state, and hear of it by RUNTIME_READY where the Runtime ran nothing
    before, by CONFIGURATION_CHANGED otherwise. A report that says nothing new changes nothing, unless the Runtime is
    STALE.
    """
    row = resource.get(tx, RUNTIME, request.runtime_id)
    # A plane that was restored from a backup knows of revisions that are not to come again: they supersede nothing.
    if request.revision > mutation.plane.revision or _superseded(row, request, mutation.plane.revision):
        return ReportConfigurationResponse(accepted=False)
    status = _status(request)
    if not _outcome_known(row, request) and any(row[name] != value for name, value in status.items()):
        RUNTIMES.update(tx, request.runtime_id, {**status, "report_time": mutation.micros})
    state = _STATE_AFTER.get(request.state)
    if state is not None:
        runtime_states.settle(tx, mutation, row, request.revision, state, _reason(request))
    return ReportConfigurationResponse(accepted=True)


def _superseded(row: Values, request: ReportConfigurationRequest, head: int) -> bool:
    reported: int | None = row["status_revision"]
    return reported is not None and request.revision < reported <= head


def _outcome_known(row: Values, request: ReportConfigurationRequest) -> bool:
    """Whether the report, that a revision is being applied, comes after the one that told what became of it.

    A repeated call may overtake another; what is known must not turn into "applying" for good.
    """
    applying = request.state == ReportState.REPORT_STATE_APPLYING
    return applying and row["status_revision"] == request.revision and row["status_state"] in _STATE_AFTER


def _reason(request: ReportConfigurationRequest) -> str:
    """Why the Runtime is in the state that follows."""
    if request.state == ReportState.REPORT_STATE_APPLIED:
        return "it runs what it was sent"
    for failure in request.failures:
        return f"application {failure.application_id}: {failure.message}" if failure.application_id else failure.message
    return "it could not apply what it was sent, and does not say why"


def _status(request: ReportConfigurationRequest) -> Values:
    failures = [{"application_id": each.application_id, "message": each.message} for each in request.failures]
    return {
        "status_revision": request.revision,
        "status_sha256": request.content_sha256,
        "status_state": request.state,
        "status_failures": json.dumps(failures),
        "agent_version": request.agent_version,
    }

"""How the plane knows an Application, where it is told: by the Connector, and by the Application itself.

An Application begins INITIAL, is PAIRED by its certificate and CONNECTED by its first call, is STALE when it has been
silent for long and CONNECTED again by its next call (`director.presence`). FAILED is its own word: neither calls, nor
silence, nor another certificate take it back, only its own report that it is CONNECTED.
"""

from moorage.director.v1.application_pb2 import (
    ApplicationState,
    ConfirmPairingRequest,
    ConfirmPairingResponse,
    ReportApplicationStatusRequest,
    ReportApplicationStatusResponse,
)

from director import resource
from director.applications import application_message
from director.kinds import APPLICATION
from director.store import Transaction, presence


def report_application_status(
    tx: Transaction, request: ReportApplicationStatusRequest, micros: int
) -> ReportApplicationStatusResponse:
    """Take an Application's own word on how it fares; raises `Refusal` (APPLICATION_NOT_FOUND)."""
    reason = " ".join(request.reason.split()) or _UNEXPLAINED[request.state]
    presence.report(tx, request.application_id, request.state, reason, micros)
    row = resource.get(tx, APPLICATION, request.application_id)
    return ReportApplicationStatusResponse(application=application_message(row))


def confirm_pairing(tx: Transaction, request: ConfirmPairingRequest, micros: int) -> ConfirmPairingResponse:
    """Take note that an Application was given a certificate; raises `Refusal` (APPLICATION_NOT_FOUND).

    Being told again changes nothing, and of one that has called since it is known already.
    """
    resource.get(tx, APPLICATION, request.application_id)
    presence.turn_paired(tx, request.application_id, micros, "it was given a certificate")
    return ConfirmPairingResponse()


_UNEXPLAINED = {
    ApplicationState.APPLICATION_STATE_CONNECTED: "it says that it works",
    ApplicationState.APPLICATION_STATE_FAILED: "it says that it fails",
}

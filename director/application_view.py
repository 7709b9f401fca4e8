"""An Application's own view: the Runtimes that it serves."""

from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
    ServedRuntime,
)
from moorage.director.v1.runtime_pb2 import RuntimeState
from moorage.errors.v1.errors_pb2 import Reason

from certs.spiffe import SpiffeId
from director.changes import read_plane
from director.store import Transaction, views
from mesh.errors import Refusal


def get_application_configuration(
    tx: Transaction, request: GetApplicationConfigurationRequest, trust_domain: str
) -> GetApplicationConfigurationResponse:
    """The view at one revision, Runtimes ordered by name; raises `Refusal` (APPLICATION_NOT_FOUND)."""
    if not views.application_exists(tx, request.application_id):
        raise Refusal(
            Reason.REASON_APPLICATION_NOT_FOUND,
            f"there is no application {request.application_id}",
            field="application_id",
        )
    return GetApplicationConfigurationResponse(
        revision=read_plane(tx).revision,
        runtimes=[
            ServedRuntime(
                runtime_id=row.runtime_id,
                name=row.name,
                ready=row.state == RuntimeState.RUNTIME_STATE_READY,
                event_url=row.event_url,
                spiffe_id=str(SpiffeId.runtime(trust_domain, row.runtime_id)),
            )
            for row in views.read_served_runtimes(tx, request.application_id)
        ],
    )

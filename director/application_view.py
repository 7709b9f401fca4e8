"""An Application's own view: the Runtimes that it serves."""

from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
    ServedRuntime,
)
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from moorage.errors.v1.errors_pb2 import Reason

from certs.spiffe import SpiffeId
from director.changes import read_plane
from director.store import Transaction, views
from mesh.errors import Refusal
from mesh.paging import read_page

MOST_RUNTIMES = 1000
"""Runtimes of a page, unless fewer are asked for: few Applications have to ask twice."""


def get_application_configuration(
    tx: Transaction, request: GetApplicationConfigurationRequest, trust_domain: str
) -> GetApplicationConfigurationResponse:
    """A page of the view, Runtimes ordered by name; raises `Refusal` (APPLICATION_NOT_FOUND, PAGE_TOKEN_INVALID)."""
    if not views.application_exists(tx, request.application_id):
        raise Refusal(
            Reason.REASON_APPLICATION_NOT_FOUND,
            f"there is no application {request.application_id}",
            field="application_id",
        )
    page = read_page(
        request,
        lambda after, limit: views.read_served_runtimes(tx, request.application_id, after[0] if after else "", limit),
        lambda row: (row.name,),
        default_size=MOST_RUNTIMES,
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
            for row in page.rows
        ],
        next_page_token=page.next_page_token,
    )

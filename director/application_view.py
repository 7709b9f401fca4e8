"""An Application's own view, read once: a page of the Runtimes that it serves."""

from moorage.director.v1.configuration_pb2 import (
    GetApplicationConfigurationRequest,
    GetApplicationConfigurationResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from director.changes import read_plane
from director.serving.view import message_of
from director.store import Transaction, serving
from mesh.errors import Refusal
from mesh.paging import read_page

MOST_RUNTIMES = 1000
"""Runtimes of a page, unless fewer are asked for: few Applications have to ask twice."""


def get_application_configuration(
    tx: Transaction, request: GetApplicationConfigurationRequest, trust_domain: str
) -> GetApplicationConfigurationResponse:
    """A page of the view, Runtimes ordered by name; raises `Refusal` (APPLICATION_NOT_FOUND, PAGE_TOKEN_INVALID)."""
    id = request.application_id
    chosen = serving.read_chosen(tx, [id]).get(id)
    if chosen is None:
        raise Refusal(Reason.REASON_APPLICATION_NOT_FOUND, f"there is no application {id}", field="application_id")
    page = read_page(
        request,
        lambda after, limit: serving.read_page(tx, id, after[0] if after else "", limit),
        lambda served: (served.name,),
        default_size=MOST_RUNTIMES,
        types=(str,),
    )
    return GetApplicationConfigurationResponse(
        revision=read_plane(tx).revision,
        runtimes=[message_of(served, trust_domain) for served in page.rows],
        next_page_token=page.next_page_token,
        eventing_runtime_id=chosen
        if chosen and serving.is_served(tx, id, chosen)
        else serving.read_oldest_ready(tx, id),
    )

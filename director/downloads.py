"""Documents, whole, for those who may read them."""

from moorage.director.v1.specification_pb2 import DownloadSpecificationRequest
from moorage.errors.v1.errors_pb2 import Reason

from director.store import Transaction, serving, specifications
from mesh.errors import Refusal


def read_document(tx: Transaction, request: DownloadSpecificationRequest) -> bytes:
    """A document that describes what an Application offers, for a Runtime where one is named.

    Raises `Refusal` (NOT_SERVED, SPECIFICATION_NOT_FOUND).
    """
    if request.runtime_id and not serving.is_served(tx, request.application_id, request.runtime_id):
        raise Refusal(
            Reason.REASON_NOT_SERVED,
            f"application {request.application_id} does not serve runtime {request.runtime_id}",
            field="runtime_id",
        )
    content = specifications.content_offered(tx, request.application_id, request.sha256)
    if content is None:
        raise Refusal(
            Reason.REASON_SPECIFICATION_NOT_FOUND,
            f"application {request.application_id} offers nothing that has the document {request.sha256}",
            field="sha256",
        )
    return content

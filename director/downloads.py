"""Documents, whole, for those who may read them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from moorage.director.v1.specification_pb2 import DownloadSpecificationRequest
from moorage.errors.v1.errors_pb2 import Reason

from director.store import Transaction, serving, specifications
from mesh.errors import Refusal

_RETRY_AFTER = timedelta(seconds=1)


class Downloads:
    """How many documents are streamed at once: each is in memory until its reader has it, however slowly it reads."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._by_caller: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Count a document as being streamed to a caller, by its SPIFFE ID; raises `Refusal` (TOO_MANY_STREAMS)."""
        if self._by_caller[caller] >= self._most_of_one or self._by_caller.total() >= self._most:
            raise Refusal(
                Reason.REASON_TOO_MANY_STREAMS,
                f"{self._by_caller[caller]} documents are being sent to this caller, and"
                f" {self._by_caller.total()} to all; {self._most_of_one} and {self._most} are the most",
                retry_after=_RETRY_AFTER,
            )
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._by_caller[caller] -= 1
            self._by_caller += Counter()  # forgets those who have none


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

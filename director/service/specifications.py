"""The Director's calls that concern documents by themselves."""

from collections.abc import AsyncGenerator

from moorage.director.v1.specification_pb2 import DownloadSpecificationRequest, DownloadSpecificationResponse

from director.downloads import read_document
from director.service.calls import Calls, Context
from mesh.call import current_caller

PIECE_BYTES = 256 * 1024
"""The most of a document that one message carries."""


class SpecificationCalls(Calls):
    """Calls that concern documents by themselves."""

    async def DownloadSpecification(
        self, request: DownloadSpecificationRequest, context: Context
    ) -> AsyncGenerator[DownloadSpecificationResponse, None]:
        """Stream a document; the first message, which alone tells the size, is sent for an empty one too."""
        with self._parts.downloads.one_more(str(current_caller().spiffe_id)):
            content = await self._database.read(read_document, request)
            yield DownloadSpecificationResponse(data=content[:PIECE_BYTES], size_bytes=len(content))
            for start in range(PIECE_BYTES, len(content), PIECE_BYTES):
                yield DownloadSpecificationResponse(data=content[start : start + PIECE_BYTES])

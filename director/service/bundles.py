"""The Director's calls that concern bundles and documents."""

from moorage.director.v1.bundle_pb2 import (
    CreateBundleRequest,
    CreateBundleResponse,
    DeleteBundleRequest,
    DeleteBundleResponse,
    GetBundleRequest,
    GetBundleResponse,
    ListBundlesRequest,
    ListBundlesResponse,
    UpdateBundleRequest,
    UpdateBundleResponse,
)
from moorage.director.v1.document_pb2 import (
    CreateDocumentRequest,
    CreateDocumentResponse,
    DeleteDocumentRequest,
    DeleteDocumentResponse,
    GetDocumentRequest,
    GetDocumentResponse,
    ListDocumentsRequest,
    ListDocumentsResponse,
    UpdateDocumentRequest,
    UpdateDocumentResponse,
)

from director import bundles, documents
from director.service.calls import Calls, Context


class BundleCalls(Calls):
    """Calls that concern bundles and documents."""

    async def CreateBundle(self, request: CreateBundleRequest, context: Context) -> CreateBundleResponse:
        """Create a bundle."""
        return await self._change(bundles.create_bundle, request)

    async def GetBundle(self, request: GetBundleRequest, context: Context) -> GetBundleResponse:
        """Read a bundle."""
        return await self._database.glance(bundles.get_bundle, request)

    async def ListBundles(self, request: ListBundlesRequest, context: Context) -> ListBundlesResponse:
        """Read a page of bundles."""
        return await self._database.read(bundles.list_bundles, request)

    async def UpdateBundle(self, request: UpdateBundleRequest, context: Context) -> UpdateBundleResponse:
        """Change a bundle."""
        return await self._change(bundles.update_bundle, request)

    async def DeleteBundle(self, request: DeleteBundleRequest, context: Context) -> DeleteBundleResponse:
        """Remove a bundle."""
        return await self._change(bundles.delete_bundle, request)

    async def CreateDocument(self, request: CreateDocumentRequest, context: Context) -> CreateDocumentResponse:
        """Create a document."""
        return await self._change(documents.create_document, request)

    async def GetDocument(self, request: GetDocumentRequest, context: Context) -> GetDocumentResponse:
        """Read a document."""
        return await self._database.read(documents.get_document, request)

    async def ListDocuments(self, request: ListDocumentsRequest, context: Context) -> ListDocumentsResponse:
        """Read a page of documents."""
        return await self._database.read(documents.list_documents, request)

    async def UpdateDocument(self, request: UpdateDocumentRequest, context: Context) -> UpdateDocumentResponse:
        """Change a document."""
        return await self._change(documents.update_document, request)

    async def DeleteDocument(self, request: DeleteDocumentRequest, context: Context) -> DeleteDocumentResponse:
        """Remove a document."""
        return await self._change(documents.delete_document, request)

"""Bundles and documents over the wire."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, GetApiRequest
from moorage.director.v1.bundle_pb2 import (
    Bundle,
    CreateBundleRequest,
    DeleteBundleRequest,
    GetBundleRequest,
    ListBundlesRequest,
    UpdateBundleRequest,
)
from moorage.director.v1.document_pb2 import (
    CreateDocumentRequest,
    DeleteDocumentRequest,
    Document,
    GetDocumentRequest,
    ListDocumentsRequest,
    UpdateDocumentRequest,
)

from tests.integration.director_registry.process import DirectorProcess, problem_of

MOST_BYTES = 1024 * 1024


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def director(shared_director: DirectorProcess) -> DirectorProcess:
    return shared_director


async def test_an_application_bundles_what_it_offers(director: DirectorProcess) -> None:
    application, own = await director.application("orders")
    id = application.application_id
    bundle = (await own.CreateBundle(CreateBundleRequest(bundle=Bundle(application_id=id, name="all")))).bundle
    api = Api(application_id=id, name="v1", target_url="https://orders.test", bundle_id=bundle.bundle_id)
    api = (await own.CreateApi(CreateApiRequest(api=api))).api
    assert api.bundle_id == bundle.bundle_id
    bundle.description = "all there is"
    bundle = (await own.UpdateBundle(UpdateBundleRequest(bundle=bundle))).bundle
    read = await own.GetBundle(GetBundleRequest(application_id=id, bundle_id=bundle.bundle_id))
    assert read.bundle == bundle
    assert list((await own.ListBundles(ListBundlesRequest(application_id=id))).bundles) == [bundle]

    held = await problem_of(own.DeleteBundle(DeleteBundleRequest(application_id=id, bundle_id=bundle.bundle_id)))
    assert (held.code, held.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RESOURCE_HELD")
    assert [each.description for each in held.violations] == ["api v1 is in it"]
    await own.DeleteBundle(DeleteBundleRequest(application_id=id, bundle_id=bundle.bundle_id, force=True))
    left = (await own.GetApi(GetApiRequest(application_id=id, api_id=api.api_id))).api
    assert left.bundle_id == ""


async def test_an_application_gives_documents_of_up_to_a_mebibyte(director: DirectorProcess) -> None:
    application, own = await director.application("documented")
    id = application.application_id
    document = Document(application_id=id, name="guide", content="x" * (MOST_BYTES + 1))
    refused = await problem_of(own.CreateDocument(CreateDocumentRequest(document=document)))
    assert [each.field for each in refused.violations] == ["document.content"]
    document.content = "x" * MOST_BYTES
    document = (await own.CreateDocument(CreateDocumentRequest(document=document))).document
    [listed] = (await own.ListDocuments(ListDocumentsRequest(application_id=id))).documents
    assert (listed.document_id, listed.content) == (document.document_id, "")
    document.title = "How to order"
    request = UpdateDocumentRequest(document=document, update_mask=FieldMask(paths=["title"]))
    document = (await own.UpdateDocument(request)).document
    read = await own.GetDocument(GetDocumentRequest(application_id=id, document_id=document.document_id))
    assert read.document == document
    await own.DeleteDocument(DeleteDocumentRequest(application_id=id, document_id=document.document_id))
    gone = await problem_of(own.GetDocument(GetDocumentRequest(application_id=id, document_id=document.document_id)))
    assert gone.reason == "DOCUMENT_NOT_FOUND"


async def test_bundles_and_documents_are_their_applications_own(director: DirectorProcess) -> None:
    _, own = await director.application("mine")
    other, _ = await director.application("other")
    id = other.application_id
    for call in (
        own.CreateBundle(CreateBundleRequest(bundle=Bundle(application_id=id, name="all"))),
        own.ListBundles(ListBundlesRequest(application_id=id)),
        own.ListBundles(ListBundlesRequest()),
        own.CreateDocument(CreateDocumentRequest(document=Document(application_id=id, name="guide"))),
        own.ListDocuments(ListDocumentsRequest(application_id=id)),
        own.ListDocuments(ListDocumentsRequest()),
    ):
        assert (await problem_of(call)).code == grpc.StatusCode.PERMISSION_DENIED


async def test_a_version_is_removed_at_a_time_that_can_be_told(director: DirectorProcess) -> None:
    application, own = await director.application("versioned")
    api = Api(application_id=application.application_id, name="v1", target_url="https://orders.test")
    for seconds in (-1, 253402300800, 2**63 - 1):
        api.version.removal_time.CopyFrom(Timestamp(seconds=seconds))
        problem = await problem_of(own.CreateApi(CreateApiRequest(api=api)))
        assert (problem.reason, [each.field for each in problem.violations]) == (
            "FIELD_INVALID",
            ["api.version.removal_time"],
        )
    api.version.removal_time.CopyFrom(Timestamp(seconds=253402300799))
    assert (await own.CreateApi(CreateApiRequest(api=api))).api.version == api.version

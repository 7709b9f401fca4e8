"""The Director's calls that concern credentials and the requests for them."""

from functools import partial

from moorage.director.v1.access_request_pb2 import (
    AnswerAccessRequestRequest,
    AnswerAccessRequestResponse,
    CreateAccessRequestRequest,
    CreateAccessRequestResponse,
    DeleteAccessRequestRequest,
    DeleteAccessRequestResponse,
    ListAccessRequestsRequest,
    ListAccessRequestsResponse,
)
from moorage.director.v1.credential_pb2 import (
    DeleteCredentialRequest,
    DeleteCredentialResponse,
    FetchCredentialsRequest,
    FetchCredentialsResponse,
    ListCredentialsRequest,
    ListCredentialsResponse,
    UpdateCredentialRequest,
    UpdateCredentialResponse,
)

from director import access_requests, credentials
from director.service.calls import Calls, Context


class CredentialCalls(Calls):
    """Calls that concern credentials and the requests for them."""

    async def UpdateCredential(self, request: UpdateCredentialRequest, context: Context) -> UpdateCredentialResponse:
        """Set a credential."""
        return await self._change(partial(credentials.update_credential, seal=self._parts.seal), request)

    async def DeleteCredential(self, request: DeleteCredentialRequest, context: Context) -> DeleteCredentialResponse:
        """Remove a credential."""
        return await self._change(credentials.delete_credential, request)

    async def ListCredentials(self, request: ListCredentialsRequest, context: Context) -> ListCredentialsResponse:
        """Read a page of credentials, without their secrets."""
        return await self._database.read(credentials.list_credentials, request)

    async def FetchCredentials(self, request: FetchCredentialsRequest, context: Context) -> FetchCredentialsResponse:
        """Read the credentials that a Runtime is to use."""
        return await self._database.read(credentials.fetch_credentials, request, self._parts.seal)

    async def CreateAccessRequest(
        self, request: CreateAccessRequestRequest, context: Context
    ) -> CreateAccessRequestResponse:
        """Ask for a credential."""
        return await self._change(access_requests.create_access_request, request)

    async def ListAccessRequests(
        self, request: ListAccessRequestsRequest, context: Context
    ) -> ListAccessRequestsResponse:
        """Read a page of requests for credentials."""
        return await self._database.read(access_requests.list_access_requests, request)

    async def AnswerAccessRequest(
        self, request: AnswerAccessRequestRequest, context: Context
    ) -> AnswerAccessRequestResponse:
        """Supply a credential, or refuse it."""
        return await self._change(partial(access_requests.answer_access_request, seal=self._parts.seal), request)

    async def DeleteAccessRequest(
        self, request: DeleteAccessRequestRequest, context: Context
    ) -> DeleteAccessRequestResponse:
        """Withdraw a request for a credential."""
        return await self._change(access_requests.delete_access_request, request)

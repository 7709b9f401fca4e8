"""The Connector's calls that concern one-time tokens."""

import uuid
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.token_pb2 import (
    GetTokenRequest,
    GetTokenResponse,
    IssueTokenRequest,
    IssueTokenResponse,
    ListTokensRequest,
    ListTokensResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
)

from certs.spiffe import SpiffeId
from connector import token_ledger
from connector.service.calls import Calls, Context, callers_origin
from connector.tokens import ToIssue


class TokenCalls(Calls):
    """Calls that concern one-time tokens."""

    async def IssueToken(self, request: IssueTokenRequest, context: Context) -> IssueTokenResponse:
        """Issue a one-time token; see `connector.tokens`."""
        issued = await self._parts.tokens.issue(self._asked(request), callers_origin())
        expire_time = Timestamp()
        expire_time.FromDatetime(issued.expire_time)
        response = IssueTokenResponse(
            token=issued.text,
            token_id=issued.token_id,
            expire_time=expire_time,
            spiffe_id=str(issued.spiffe_id),
        )
        if request.deliver:
            response.delivery.CopyFrom(await self._database.read(token_ledger.delivery_of, issued.token_id))
        return response

    async def GetToken(self, request: GetTokenRequest, context: Context) -> GetTokenResponse:
        """Read a token."""
        return await self._database.read(token_ledger.get_token, request, self._parts.clock())

    async def ListTokens(self, request: ListTokensRequest, context: Context) -> ListTokensResponse:
        """Read a page of tokens."""
        return await self._database.read(token_ledger.list_tokens, request, self._parts.clock())

    async def RevokeToken(self, request: RevokeTokenRequest, context: Context) -> RevokeTokenResponse:
        """End a token that was not used."""
        return await self._database.write(token_ledger.end_token, request, self._parts.clock(), callers_origin())

    def _asked(self, request: IssueTokenRequest) -> ToIssue:
        # By arithmetic: a duration can be spelt in ways that its own methods raise ValueError for.
        ttl = timedelta(seconds=request.ttl.seconds, microseconds=request.ttl.nanos // 1000)
        return ToIssue(
            party=self._party(request),
            ttl=ttl if request.HasField("ttl") else None,
            deliver=request.deliver,
            dns_names=tuple(request.dns_names),
            ip_addresses=tuple(request.ip_addresses),
        )

    def _party(self, request: IssueTokenRequest) -> SpiffeId:
        trust_domain = self._parts.authority.trust_domain
        match request.WhichOneof("party"):
            case "application_id":
                # The contract takes UUIDs in either case; a SPIFFE ID has only one spelling.
                return SpiffeId.application(trust_domain, uuid.UUID(request.application_id))
            case "runtime_id":
                return SpiffeId.runtime(trust_domain, uuid.UUID(request.runtime_id))
            case "admin":
                return SpiffeId.admin(trust_domain, request.admin)
            case "viewer":
                return SpiffeId.viewer(trust_domain, request.viewer)
            case _:  # the contract requires one of them
                return SpiffeId.service(trust_domain, request.service)

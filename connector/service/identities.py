"""The Connector's calls that concern identities: what they have, and whether they are banned."""

import uuid

from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    GetIdentityResponse,
    ListIdentitiesRequest,
    ListIdentitiesResponse,
    RestoreIdentityRequest,
    RestoreIdentityResponse,
    RevokeIdentityRequest,
    RevokeIdentityResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs.spiffe import SpiffeId, SpiffeIdRefused
from connector import identities
from connector.service.calls import Calls, Context, callers_origin
from mesh.call import current_caller
from mesh.errors import Refusal


class IdentityCalls(Calls):
    """Calls that concern identities."""

    async def GetIdentity(self, request: GetIdentityRequest, context: Context) -> GetIdentityResponse:
        """Read an identity."""
        return await self._database.read(identities.get_identity, request, self._parts.clock())

    async def ListIdentities(self, request: ListIdentitiesRequest, context: Context) -> ListIdentitiesResponse:
        """Read a page of identities."""
        return await self._database.read(identities.list_identities, request, self._parts.clock())

    async def RevokeIdentity(self, request: RevokeIdentityRequest, context: Context) -> RevokeIdentityResponse:
        """End all that an identity has; see `connector.identities`."""
        party = self._revoked(request)
        if party == current_caller().spiffe_id:
            raise Refusal(Reason.REASON_OWN_IDENTITY, f"{party} is who asks", field=request.WhichOneof("party"))
        revoked = await self._database.write(
            identities.revoke,
            callers_origin(),
            self._parts.clock(),
            str(party),
            request.action,
            request.reason,
            request.note,
        )
        return RevokeIdentityResponse(
            identity=revoked.identity, revoked_certificates=revoked.certificates, revoked_tokens=revoked.tokens
        )

    async def RestoreIdentity(self, request: RestoreIdentityRequest, context: Context) -> RestoreIdentityResponse:
        """Lift the ban of an identity."""
        identity = await self._database.write(
            identities.restore, callers_origin(), self._parts.clock(), request.spiffe_id, request.note
        )
        return RestoreIdentityResponse(identity=identity)

    def _revoked(self, request: RevokeIdentityRequest) -> SpiffeId:
        trust_domain = self._parts.authority.trust_domain
        match request.WhichOneof("party"):
            case "application_id":
                # The contract takes UUIDs in either case; a SPIFFE ID has only one spelling.
                return SpiffeId.application(trust_domain, uuid.UUID(request.application_id))
            case "runtime_id":
                return SpiffeId.runtime(trust_domain, uuid.UUID(request.runtime_id))
            case _:  # the contract requires one of them
                return _of_plane(request.spiffe_id, trust_domain)


def _of_plane(text: str, trust_domain: str) -> SpiffeId:
    try:
        party = SpiffeId.parse(text)
        _ = party.kind  # raises, too
    except SpiffeIdRefused as error:
        raise Refusal(Reason.REASON_FIELD_INVALID, str(error), field="spiffe_id") from error
    if party.trust_domain != trust_domain:
        raise Refusal(
            Reason.REASON_FIELD_INVALID, f"must be of this plane's trust domain, {trust_domain}", field="spiffe_id"
        )
    return party

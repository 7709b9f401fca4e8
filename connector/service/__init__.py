"""The Connector's gRPC shape: message in, one call, message out. The call pipeline has checked each request before."""

from connector.service.calls import Parts
from connector.service.certificates import CertificateCalls
from connector.service.enrolment import EnrolmentCalls
from connector.service.identities import IdentityCalls
from connector.service.revocations import RevocationCalls
from connector.service.tokens import TokenCalls

__all__ = ["ConnectorService", "Parts"]


class ConnectorService(TokenCalls, EnrolmentCalls, CertificateCalls, IdentityCalls, RevocationCalls):
    """Serves `moorage.connector.v1.Connector` on both listeners, a room for each kind of resource."""

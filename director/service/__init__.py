"""The Director's gRPC shape: message in, one call, message out. The call pipeline has checked each request before."""

from director.service.applications import ApplicationCalls
from director.service.bundles import BundleCalls
from director.service.calls import Parts
from director.service.credentials import CredentialCalls
from director.service.groups import GroupCalls
from director.service.labels import LabelCalls
from director.service.offers import OfferCalls
from director.service.runtimes import RuntimeCalls
from director.service.specifications import SpecificationCalls
from director.service.views import ViewCalls

__all__ = ["DirectorService", "Parts"]


class DirectorService(
    ApplicationCalls,
    OfferCalls,
    BundleCalls,
    SpecificationCalls,
    CredentialCalls,
    GroupCalls,
    RuntimeCalls,
    LabelCalls,
    ViewCalls,
):
    """Serves `moorage.director.v1.Director`, a room for each kind of resource."""

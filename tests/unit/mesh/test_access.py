"""Who may call what, as the contract says it."""

from datetime import UTC, datetime

import pytest
from google.longrunning import operations_pb2
from moorage.access.v1 import access_pb2
from moorage.connector.v1 import connector_pb2
from moorage.connector.v1.identity_pb2 import RevokeIdentityRequest
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1 import director_pb2
from moorage.director.v1.api_pb2 import Api, UpdateApiRequest
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1 import provisioner_pb2

from certs.spiffe import SpiffeId
from mesh.access import AccessRules, check_request
from mesh.call import Caller
from mesh.errors import Refusal

OWN = "0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a10"
OTHER = "7c0f5ab0-5e0c-4a43-a0e3-9d6f3b6d1c77"
SERVICES = [
    director_pb2.DESCRIPTOR.services_by_name["Director"],
    connector_pb2.DESCRIPTOR.services_by_name["Connector"],
    provisioner_pb2.DESCRIPTOR.services_by_name["Provisioner"],
]
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
RULES = AccessRules.of(SERVICES)
WRITES = ("Create", "Update", "Delete", "Add", "Remove", "Issue", "Revoke", "Restore", "Report", "Deliver")


def caller(path: str) -> Caller:
    return Caller(SpiffeId("moorage.test", path), "01", datetime(2030, 1, 1, tzinfo=UTC))


def may_call(method: str, path: str | None) -> bool:
    try:
        return bool(RULES.grants(method, caller(path) if path else None))
    except Refusal:
        return False


def test_every_method_of_ours_has_a_rule() -> None:
    assert all(method.GetOptions().Extensions[access_pb2.allow].grants for method in METHODS.values())


def test_a_service_without_a_rule_for_a_method_is_not_served() -> None:
    with pytest.raises(ValueError, match="no access rule"):
        AccessRules.of([operations_pb2.DESCRIPTOR.services_by_name["Operations"]])


def test_only_enrolment_recovery_and_the_revocation_list_are_for_anyone() -> None:
    open_to_all = {path.rpartition("/")[2] for path in METHODS if may_call(path, None)}
    assert open_to_all == {"Enroll", "Recover", "GetRevocationList"}


@pytest.mark.parametrize("path", [path for path, method in METHODS.items() if method.name.startswith(WRITES)])
def test_a_viewer_changes_nothing(path: str) -> None:
    assert not may_call(path, "/viewer/vic")


def test_who_shows_no_certificate_is_unauthenticated_and_not_merely_denied() -> None:
    with pytest.raises(Refusal) as caught:
        RULES.grants("/moorage.director.v1.Director/GetApplication", None)
    assert caught.value.reason == Reason.REASON_CERTIFICATE_REQUIRED


def test_the_own_field_is_looked_up_along_its_path() -> None:
    method, application = "/moorage.director.v1.Director/UpdateApi", caller(f"/application/{OWN}")
    grants = RULES.grants(method, application)
    check_request(method, grants, application, UpdateApiRequest(api=Api(application_id=OWN)))
    with pytest.raises(Refusal) as caught:
        check_request(method, grants, application, UpdateApiRequest(api=Api(application_id=OTHER)))
    assert caught.value.reason == Reason.REASON_ACCESS_DENIED


def test_the_provisioner_gets_tokens_for_runtimes_only() -> None:
    method, provisioner = "/moorage.connector.v1.Connector/IssueToken", caller("/service/provisioner")
    grants = RULES.grants(method, provisioner)
    check_request(method, grants, provisioner, IssueTokenRequest(runtime_id=OWN))
    with pytest.raises(Refusal):
        check_request(method, grants, provisioner, IssueTokenRequest(application_id=OWN))


def test_the_director_revokes_applications_and_runtimes_only() -> None:
    method, director = "/moorage.connector.v1.Connector/RevokeIdentity", caller("/service/director")
    grants = RULES.grants(method, director)
    check_request(method, grants, director, RevokeIdentityRequest(application_id=OWN))
    check_request(method, grants, director, RevokeIdentityRequest(runtime_id=OWN))
    with pytest.raises(Refusal):
        check_request(method, grants, director, RevokeIdentityRequest(spiffe_id="spiffe://moorage.test/admin/ann"))


def test_only_the_connector_hands_out_tokens_by_the_director() -> None:
    method = "/moorage.director.v1.Director/DeliverToken"
    assert may_call(method, "/service/connector")
    assert not may_call(method, "/admin/ann")


@pytest.mark.parametrize("path", ["/admin/ann", f"/application/{OWN}", f"/runtime/{OWN}"])
def test_the_list_of_what_is_revoked_is_streamed_to_services_alone(path: str) -> None:
    assert may_call("/moorage.connector.v1.Connector/WatchRevocations", "/service/provisioner")
    assert not may_call("/moorage.connector.v1.Connector/WatchRevocations", path)


def test_an_application_is_not_taken_for_a_runtime_with_the_same_id() -> None:
    assert not may_call("/moorage.director.v1.Director/ReportConfiguration", f"/application/{OWN}")
    assert not may_call("/moorage.director.v1.Director/CreateApi", f"/runtime/{OWN}")


@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_every_party_may_ask_for_health(method: str) -> None:
    assert may_call(f"/grpc.health.v1.Health/{method}", f"/runtime/{OWN}")
    assert not may_call(f"/grpc.health.v1.Health/{method}", None)

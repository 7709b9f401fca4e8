"""What the contract says is valid, where it takes more than a rule of one field."""

import uuid
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.certificate_pb2 import (
    CertificateState,
    GetCertificateRequest,
    ListCertificatesRequest,
    ReportCertificateUseRequest,
    RevokeCertificateRequest,
)
from moorage.connector.v1.enrolment_pb2 import EnrollRequest
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    ListIdentitiesRequest,
    RestoreIdentityRequest,
    RevocationAction,
    RevokeIdentityRequest,
)
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.connector.v1.token_pb2 import IssueTokenRequest, IssueTokenResponse, ListTokensRequest, TokenState
from moorage.director.v1.webhook_pb2 import DeliverTokenRequest
from protovalidate import Validator

ID = str(uuid.UUID(int=1, version=4))
ADMIN = "spiffe://plane.test/admin/ann"

OF_ONE_SERIAL: list[Any] = [GetCertificateRequest, RevokeCertificateRequest]
OF_ONE_IDENTITY: list[Any] = [GetIdentityRequest, RestoreIdentityRequest, ListTokensRequest, ListCertificatesRequest]
STATES: list[tuple[Any, Any]] = [(ListTokensRequest, TokenState), (ListCertificatesRequest, CertificateState)]


def broken_rules(request: Message) -> set[str]:
    return {each.proto.rule_id for each in Validator().collect_violations(request)}


@pytest.mark.parametrize(
    "party",
    [
        {"application_id": ID},
        {"runtime_id": ID},
        {"admin": "ann"},
        {"admin": "ann.of-sales_2"},
        {"viewer": "7"},
        {"service": "director", "dns_names": ["localhost", "director.example"]},
        {"service": "connector", "ip_addresses": ["127.0.0.1", "::1"]},
        {"service": "provisioner", "dns_names": ["p"], "ip_addresses": ["10.0.0.1"]},
    ],
)
def test_a_token_is_for_each_kind_of_party(party: dict[str, Any]) -> None:
    assert broken_rules(IssueTokenRequest(**party)) == set()


@pytest.mark.parametrize("name", ["", ".", "..", ".ann", "ann.", "a/b", "ann\n", "änn", "a" * 64])
@pytest.mark.parametrize("kind", ["admin", "viewer"])
def test_a_name_that_is_no_segment_of_a_spiffe_id_is_refused(kind: str, name: str) -> None:
    party: dict[str, Any] = {kind: name}
    assert broken_rules(IssueTokenRequest(**party)) == {"string.party_name"}


def test_a_token_is_for_one_party_and_no_service_of_another_name() -> None:
    assert broken_rules(IssueTokenRequest()) == {"required"}
    assert broken_rules(IssueTokenRequest(service="agent", dns_names=["a"])) == {"string.in"}


@pytest.mark.parametrize(
    "party",
    [
        {"service": "director"},
        {"application_id": ID, "dns_names": ["a.example"]},
        {"admin": "ann", "ip_addresses": ["127.0.0.1"]},
    ],
)
def test_a_service_and_nobody_else_has_host_names(party: dict[str, Any]) -> None:
    assert broken_rules(IssueTokenRequest(**party)) == {"host_names.service"}


@pytest.mark.parametrize(
    ("hosts", "rule"),
    [
        ({"dns_names": ["*.example"]}, "string.pattern"),
        ({"dns_names": ["Director.example"]}, "string.pattern"),
        ({"dns_names": ["director.example\n"]}, "string.pattern"),
        ({"dns_names": [".".join(["a" * 60] * 5)]}, "string.max_len"),
        ({"dns_names": ["a", "a"]}, "repeated.unique"),
        ({"dns_names": [f"a{number}" for number in range(17)]}, "repeated.max_items"),
        ({"ip_addresses": ["10.0.0.0/8"]}, "string.ip"),
        ({"ip_addresses": ["localhost"]}, "string.ip"),
    ],
)
def test_a_host_name_that_no_certificate_may_carry_is_refused(hosts: dict[str, Any], rule: str) -> None:
    assert broken_rules(IssueTokenRequest(service="director", **hosts)) == {rule}


def test_a_token_is_delivered_to_an_application_alone() -> None:
    assert broken_rules(IssueTokenRequest(application_id=ID, deliver=True)) == set()
    assert broken_rules(IssueTokenRequest(runtime_id=ID, deliver=True)) == {"deliver.application"}


@pytest.mark.parametrize(("seconds", "rules"), [(0, {"duration.gte_lte"}), (1, set()), (86400, set())])
def test_a_token_lives_for_a_second_or_more(seconds: int, rules: set[str]) -> None:
    assert broken_rules(IssueTokenRequest(admin="ann", ttl=Duration(seconds=seconds))) == rules
    longer = IssueTokenRequest(admin="ann", ttl=Duration(seconds=86400 + seconds, nanos=1))
    assert broken_rules(longer) == {"duration.gte_lte"}


@pytest.mark.parametrize("serial", ["00", "0a1b", "ab" * 20])
def test_a_serial_number_is_as_the_plane_writes_it(serial: str) -> None:
    for request in OF_ONE_SERIAL:
        assert broken_rules(request(serial_number=serial)) == set()
    assert broken_rules(ReportCertificateUseRequest(serial_numbers=[serial])) == set()


@pytest.mark.parametrize("serial", ["", "0", "AB", "0x0a", "0a:1b", "ab\n", "ab" * 21])
def test_a_serial_number_in_another_form_is_refused(serial: str) -> None:
    for request in OF_ONE_SERIAL:
        assert broken_rules(request(serial_number=serial)) == {"string.pattern"}
    assert broken_rules(ReportCertificateUseRequest(serial_numbers=[serial])) == {"string.pattern"}


@pytest.mark.parametrize(
    "spiffe_id",
    [ADMIN, f"spiffe://plane.test/application/{ID}", f"spiffe://p/runtime/{ID}", "spiffe://p/service/director"],
)
def test_an_identity_is_named_by_its_spiffe_id(spiffe_id: str) -> None:
    for request in OF_ONE_IDENTITY:
        assert broken_rules(request(spiffe_id=spiffe_id)) == set()


@pytest.mark.parametrize(
    "spiffe_id", ["ann", "spiffe://plane.test", "https://p/admin/ann", "spiffe://p/admin/ann/x", f"{ADMIN}\n"]
)
def test_what_is_no_spiffe_id_of_a_party_is_refused(spiffe_id: str) -> None:
    for request in OF_ONE_IDENTITY:
        assert broken_rules(request(spiffe_id=spiffe_id)) == {"string.spiffe_id"}
    evict = RevocationAction.REVOCATION_ACTION_EVICT
    assert broken_rules(RevokeIdentityRequest(spiffe_id=spiffe_id, action=evict)) == {"string.spiffe_id"}


def test_an_identity_is_not_revoked_without_saying_what_that_means_for_its_future() -> None:
    assert broken_rules(RevokeIdentityRequest(spiffe_id=ADMIN)) == {"enum.not_in"}
    ban = RevocationAction.REVOCATION_ACTION_BAN
    assert broken_rules(RevokeIdentityRequest(application_id=ID, action=ban)) == set()


@pytest.mark.parametrize(
    ("reason", "rules"),
    [(0, set()), (1, set()), (3, set()), (4, {"enum.not_in"}), (5, set()), (6, {"enum.defined_only"}), (9, set())],
)
def test_whoever_revokes_gives_a_reason_that_is_theirs_to_give(
    reason: RevocationReason.ValueType, rules: set[str]
) -> None:
    assert broken_rules(RevokeCertificateRequest(serial_number="0a", reason=reason)) == rules
    evict = RevocationAction.REVOCATION_ACTION_EVICT
    assert broken_rules(RevokeIdentityRequest(spiffe_id=ADMIN, action=evict, reason=reason)) == rules


def test_the_reasons_have_the_numbers_of_rfc_5280() -> None:
    assert {name.removeprefix("REVOCATION_REASON_"): number for name, number in RevocationReason.items()} == {
        "UNSPECIFIED": 0,
        "KEY_COMPROMISE": 1,
        "AFFILIATION_CHANGED": 3,
        "SUPERSEDED": 4,
        "CESSATION_OF_OPERATION": 5,
        "PRIVILEGE_WITHDRAWN": 9,
    }


@pytest.mark.parametrize("request_type", [ListTokensRequest, ListCertificatesRequest, ListIdentitiesRequest])
def test_a_page_is_bounded_and_its_states_are_named_once(request_type: Any) -> None:
    assert broken_rules(request_type(page_size=1000, states=[1, 2])) == set()
    assert broken_rules(request_type(page_size=1001)) == {"int32.gte_lte"}
    assert broken_rules(request_type(states=[2, 2])) == {"repeated.unique"}
    assert broken_rules(request_type(states=[0])) == {"enum.not_in"}


@pytest.mark.parametrize(("request_type", "state"), STATES)
def test_every_state_can_be_asked_for_at_once(request_type: Any, state: Any) -> None:
    assert broken_rules(request_type(states=[each for each in state.values() if each])) == set()


@pytest.mark.parametrize("seconds", [-1, 253402300800, 2**62])
def test_a_time_that_there_is_not_is_refused(seconds: int) -> None:
    for field in ("expire_after", "expire_before"):
        times: dict[str, Any] = {field: Timestamp(seconds=seconds)}
        assert broken_rules(ListCertificatesRequest(**times)) == {"timestamp.gte_lte"}


@pytest.mark.parametrize("message", [IssueTokenResponse, EnrollRequest, DeliverTokenRequest])
def test_the_field_that_carries_a_token_says_that_it_is_not_to_be_printed(message: Any) -> None:
    assert message.DESCRIPTOR.fields_by_name["token"].GetOptions().debug_redact

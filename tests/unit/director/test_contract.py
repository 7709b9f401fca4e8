"""What the contract says is valid, where it takes more than a rule of one field."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from moorage.director.v1 import api_pb2, application_pb2, event_api_pb2, group_pb2, runtime_pb2
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportState, ResourceFailure
from protovalidate import Validator

from tests.unit.director.plane import new_id

UPDATES: list[Any] = [
    api_pb2.UpdateApiRequest,
    application_pb2.UpdateApplicationRequest,
    event_api_pb2.UpdateEventApiRequest,
    group_pb2.UpdateGroupRequest,
    runtime_pb2.UpdateRuntimeRequest,
]


def broken_rules(request: Message) -> set[str]:
    return {each.proto.rule_id for each in Validator().collect_violations(request)}


@pytest.mark.parametrize("update", UPDATES, ids=lambda update: update.DESCRIPTOR.name)
def test_an_update_mask_is_of_a_bounded_length(update: Any) -> None:
    rule = "update_mask.paths"
    assert rule not in broken_rules(update(update_mask=FieldMask(paths=["name"] * 32)))
    assert rule in broken_rules(update(update_mask=FieldMask(paths=["name"] * 33)))


def test_a_batch_names_each_group_once_and_in_it_each_member_once() -> None:
    one, other, group = new_id(), new_id(), new_id()
    change = group_pb2.GroupMembersChange(
        group_id=group,
        add_application_ids=[one],
        remove_application_ids=[other],
        add_runtime_ids=[other],
        remove_runtime_ids=[one],
    )
    assert broken_rules(group_pb2.BatchUpdateGroupMembersRequest(changes=[change])) == set()
    assert broken_rules(group_pb2.BatchUpdateGroupMembersRequest(changes=[change, change])) == {"changes.groups"}
    for field in ("remove_application_ids", "add_runtime_ids"):
        twice = group_pb2.GroupMembersChange()
        twice.CopyFrom(change)
        getattr(twice, field).append(one)
        assert broken_rules(group_pb2.BatchUpdateGroupMembersRequest(changes=[twice])) == {"change.twice"}


def test_lists_that_are_much_too_long_are_refused_as_such() -> None:
    batch = group_pb2.BatchUpdateGroupMembersRequest(changes=[group_pb2.GroupMembersChange()] * 20_000)
    assert "repeated.max_items" in broken_rules(batch)
    ids = [new_id() for _ in range(20_000)]
    change = group_pb2.GroupMembersChange(group_id=new_id(), add_application_ids=ids, remove_runtime_ids=ids)
    assert broken_rules(group_pb2.BatchUpdateGroupMembersRequest(changes=[change])) == {"repeated.max_items"}


@pytest.mark.parametrize("state", [ReportState.REPORT_STATE_APPLYING, ReportState.REPORT_STATE_APPLIED])
def test_only_a_report_of_failure_has_failures(state: ReportState.ValueType) -> None:
    report = ReportConfigurationRequest(runtime_id=new_id(), state=state, failures=[ResourceFailure(message="why")])
    assert broken_rules(report) == {"failures.state"}
    report.state = ReportState.REPORT_STATE_FAILED
    assert broken_rules(report) == set()


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("orders-1", "https://orders.example:8443/v1?a=b#c", set()),
        ("0", "http://[::1]/", set()),
        ("Orders", "https://o.example", {"must be a DNS label: a-z, 0-9 and inner hyphens"}),
        ("-orders", "https://o.example", {"must be a DNS label: a-z, 0-9 and inner hyphens"}),
        ("orders\n", "https://o.example", {"must be a DNS label: a-z, 0-9 and inner hyphens"}),
        ("orders", "ftp://o.example", {"must be an absolute http or https URL"}),
        ("orders", "https:///path", {"must be an absolute http or https URL"}),
        ("orders", "o.example", {"must be an absolute http or https URL"}),
    ],
)
def test_names_and_urls_that_are_not_valid_are_told_of_in_words(name: str, url: str, told: set[str]) -> None:
    api = api_pb2.Api(application_id=new_id(), name=name, target_url=url)
    violations = Validator().collect_violations(api_pb2.CreateApiRequest(api=api))
    assert {each.proto.message for each in violations} == told

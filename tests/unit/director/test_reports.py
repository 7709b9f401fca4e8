"""What becomes of an agent's reports, and what follows from them."""

import json
from typing import Any

import pytest
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportState, ResourceFailure
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, ListRuntimesRequest, Runtime
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from moorage.errors.v1.errors_pb2 import Reason

from director.reports import report_configuration
from director.runtimes import get_runtime, list_runtimes
from director.store import tables
from mesh.errors import Refusal
from tests.unit.director.plane import Plane, new_id

APPLYING, APPLIED, FAILED = (
    ReportState.REPORT_STATE_APPLYING,
    ReportState.REPORT_STATE_APPLIED,
    ReportState.REPORT_STATE_FAILED,
)


class Reporting:
    """A Runtime in a group with an Application that has a webhook, and one that has none."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.application = plane.application().application_id
        plane.add_webhook(self.application)
        group = plane.group(application_ids=[self.application, plane.application().application_id])
        self.runtime = plane.runtime("edge", "https://edge.test/events", [group.group_id]).runtime_id
        self.take_notices()

    def report(self, state: ReportState.ValueType, revision: int | None = None, **fields: Any) -> bool:
        request = ReportConfigurationRequest(
            runtime_id=self.runtime,
            state=state,
            revision=self.plane.revision if revision is None else revision,
            **fields,
        )
        return self.plane.change(report_configuration, request).accepted

    def read(self) -> Runtime:
        return self.plane.read(get_runtime, GetRuntimeRequest(runtime_id=self.runtime)).runtime

    def take_notices(self) -> list[dict[str, Any]]:
        rows = self.plane.rows(tables.notices)
        with self.plane.transaction() as tx:
            tx.execute(tables.notices.delete())
        return rows


@pytest.fixture
def reporting(plane: Plane) -> Reporting:
    return Reporting(plane)


def test_a_report_is_kept_with_all_that_it_says(reporting: Reporting) -> None:
    failure = ResourceFailure(application_id=reporting.application, message="no such port")
    assert reporting.report(FAILED, 1, content_sha256="ab" * 32, failures=[failure], agent_version="1.2")
    status = reporting.read().status
    assert (status.revision, status.state) == (1, FAILED)
    assert (status.content_sha256, status.agent_version) == ("ab" * 32, "1.2")
    assert list(status.failures) == [failure]
    assert status.HasField("report_time")


def test_a_list_says_how_each_runtime_stands_but_not_all_that_failed(reporting: Reporting) -> None:
    reporting.report(FAILED, failures=[ResourceFailure(message="m" * 2000)] * 100)
    [listed] = reporting.plane.read(list_runtimes, ListRuntimesRequest()).runtimes
    read = reporting.read()
    assert len(read.status.failures) == 100
    del read.status.failures[:]
    read.ClearField("desired_revision")
    read.ClearField("desired_time")
    assert listed == read


def test_a_mere_report_takes_no_revision(reporting: Reporting) -> None:
    before = reporting.plane.revision
    assert reporting.report(APPLYING)
    assert reporting.plane.revision == before
    assert reporting.take_notices() == []


@pytest.mark.check("stream-12")
def test_a_report_about_a_superseded_revision_does_not_overwrite_a_newer_one(reporting: Reporting) -> None:
    reporting.report(APPLIED, 3)
    kept = reporting.read()
    assert not reporting.report(FAILED, 2)
    assert reporting.read() == kept


def test_a_report_about_a_revision_that_does_not_exist_yet_changes_nothing(reporting: Reporting) -> None:
    kept = reporting.read()
    assert not reporting.report(APPLIED, reporting.plane.revision + 1)
    assert reporting.read() == kept


@pytest.mark.parametrize("outcome", [APPLIED, FAILED])
def test_a_revision_goes_from_applying_to_its_outcome(reporting: Reporting, outcome: ReportState.ValueType) -> None:
    assert reporting.report(APPLYING, 2)
    assert reporting.report(outcome, 2)
    assert reporting.read().status.state == outcome


@pytest.mark.parametrize("outcome", [APPLIED, FAILED])
def test_applying_that_comes_late_does_not_hide_the_outcome(
    reporting: Reporting, outcome: ReportState.ValueType
) -> None:
    reporting.report(outcome, 2)
    assert reporting.report(APPLYING, 2)
    assert reporting.read().status.state == outcome


def test_what_failed_can_be_applied_at_a_later_attempt(reporting: Reporting) -> None:
    reporting.report(FAILED, 2, failures=[ResourceFailure(message="disk full")])
    assert reporting.report(APPLIED, 2)
    runtime = reporting.read()
    assert runtime.state == RuntimeState.RUNTIME_STATE_READY
    assert list(runtime.status.failures) == []


def test_a_repeated_report_changes_nothing(reporting: Reporting) -> None:
    reporting.report(APPLIED, 2)
    reporting.take_notices()
    kept, revision = reporting.read(), reporting.plane.revision
    assert reporting.report(APPLIED, 2)
    assert (reporting.read(), reporting.plane.revision) == (kept, revision)
    assert reporting.take_notices() == []


def test_the_first_applied_report_makes_the_runtime_ready_and_tells_its_applications(reporting: Reporting) -> None:
    before = reporting.plane.revision
    reporting.report(APPLIED)
    assert reporting.read().state == RuntimeState.RUNTIME_STATE_READY
    [notice] = reporting.take_notices()
    assert (notice["application_id"], notice["type"]) == (reporting.application, "RUNTIME_READY")
    assert notice["revision"] == reporting.plane.revision == before + 1
    body = json.loads(notice["body"])
    assert body["type"] == "RUNTIME_READY"
    assert body["timestamp"].endswith("Z")
    assert body["data"] == {
        "application_id": reporting.application,
        "revision": before + 1,
        "runtime": {"runtime_id": reporting.runtime, "name": "edge", "event_url": "https://edge.test/events"},
    }


def test_a_runtime_that_fails_and_recovers_is_told_of_as_a_change(reporting: Reporting) -> None:
    reporting.report(APPLIED, content_sha256="ab" * 32)
    reporting.take_notices()
    for state, expected in ((FAILED, RuntimeState.RUNTIME_STATE_FAILED), (APPLIED, RuntimeState.RUNTIME_STATE_READY)):
        reporting.report(state, content_sha256="ab" * 32)
        assert reporting.read().state == expected
        [notice] = reporting.take_notices()
        assert notice["type"] == "CONFIGURATION_CHANGED"
        assert json.loads(notice["body"])["data"]["runtime_ids"] == [reporting.runtime]


def test_a_first_report_of_failure_makes_the_runtime_failed(reporting: Reporting) -> None:
    reporting.report(FAILED)
    assert reporting.read().state == RuntimeState.RUNTIME_STATE_FAILED
    assert [notice["type"] for notice in reporting.take_notices()] == ["CONFIGURATION_CHANGED"]


def test_a_runtime_whose_first_configurations_failed_is_told_of_as_ready_once_one_is_applied(
    reporting: Reporting,
) -> None:
    for state, runs in ((FAILED, ""), (APPLYING, ""), (FAILED, ""), (APPLIED, "ab" * 32), (FAILED, "ab" * 32)):
        reporting.report(state, content_sha256=runs)
    reporting.report(APPLIED, content_sha256="cd" * 32)
    told = [notice["type"] for notice in reporting.take_notices()]
    assert told == ["CONFIGURATION_CHANGED", "RUNTIME_READY", "CONFIGURATION_CHANGED", "CONFIGURATION_CHANGED"]


def test_a_turn_of_state_is_in_the_log_and_leaves_the_update_time(reporting: Reporting) -> None:
    before, since = reporting.read(), reporting.plane.revision
    reporting.report(APPLIED)
    [change] = reporting.plane.changes_since(since)
    assert (change.action, change.kind, change.runtime_id) == ("UPDATE", "RUNTIME", reporting.runtime)
    after = reporting.read()
    assert after.update_time == before.update_time
    assert (after.revision, after.etag != before.etag) == (change.revision, True)


def test_a_report_of_an_unknown_runtime_is_refused(plane: Plane) -> None:
    request = ReportConfigurationRequest(runtime_id=new_id(), state=APPLIED)
    with pytest.raises(Refusal) as refused:
        plane.change(report_configuration, request)
    assert refused.value.reason == Reason.REASON_RUNTIME_NOT_FOUND

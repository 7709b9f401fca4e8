"""Access requests: a Runtime asks, the Application answers, both see how far it is."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moorage.director.v1.access_request_pb2 import (
    AccessRequest,
    AccessRequestState,
    AnswerAccessRequestRequest,
    CreateAccessRequestRequest,
    DeleteAccessRequestRequest,
    ListAccessRequestsRequest,
    SuppliedCredential,
)
from moorage.director.v1.credential_pb2 import BearerCredential

from director import access_requests
from director.store import tables
from tests.support.sealing import sealing
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused
from tests.unit.director.vault import Vault

PENDING = AccessRequestState.ACCESS_REQUEST_STATE_PENDING
SUPPLIED = AccessRequestState.ACCESS_REQUEST_STATE_SUPPLIED
REFUSED = AccessRequestState.ACCESS_REQUEST_STATE_REFUSED


class Asking(Vault):
    def ask(self, runtime: str = "", purpose: str = "", **more: Any) -> AccessRequest:
        asked = AccessRequest(
            runtime_id=runtime or self.runtime,
            application_id=more.pop("application_id", self.application),
            purpose=purpose,
            **(more or {"api_id": self.api}),
        )
        request = CreateAccessRequestRequest(access_request=asked)
        return self.plane.change(access_requests.create_access_request, request).access_request

    def answer(self, id: str, application: str = "", **answer: Any) -> AccessRequest:
        request = AnswerAccessRequestRequest(
            application_id=application or self.application, access_request_id=id, **answer
        )
        unit = partial(access_requests.answer_access_request, seal=self.seal)
        return self.plane.change(unit, request).access_request

    def supply(self, id: str, token: str) -> AccessRequest:
        return self.answer(id, supplied=SuppliedCredential(bearer=BearerCredential(token=token)))

    def withdraw(self, id: str, runtime: str = "") -> None:
        request = DeleteAccessRequestRequest(runtime_id=runtime or self.runtime, access_request_id=id)
        self.plane.change(access_requests.delete_access_request, request)

    def requests(self, **within: Any) -> list[AccessRequest]:
        request = ListAccessRequestsRequest(**within)
        return list(self.plane.read(access_requests.list_access_requests, request).access_requests)


@pytest.fixture
def asking(plane: Plane, tmp_path: Path) -> Asking:
    return Asking(plane, sealing(plane, tmp_path / "sealing.key"))


def test_what_is_supplied_becomes_the_runtimes_own_credential(asking: Asking) -> None:
    asking.set("shared")
    asked = asking.ask(purpose="to order")
    assert asked.state == PENDING
    assert asking.supply(asked.access_request_id, "own").state == SUPPLIED
    assert asking.tokens(asking.runtime) == ["own"]
    assert asking.tokens(asking.neighbour) == ["shared"]
    [seen] = asking.requests(runtime_id=asking.runtime)
    assert (seen.state, seen.purpose, seen.HasField("answer_time")) == (SUPPLIED, "to order", True)


def test_a_refusal_says_why_and_gives_nothing(asking: Asking) -> None:
    asked = asking.ask()
    answered = asking.answer(asked.access_request_id, refusal="not for you")
    assert (answered.state, answered.refusal) == (REFUSED, "not for you")
    assert asking.fetched(asking.runtime) == []


def test_what_was_answered_is_not_answered_again(asking: Asking) -> None:
    asked = asking.ask()
    asking.answer(asked.access_request_id, refusal="no")
    with refused("ACCESS_REQUEST_ANSWERED"):
        asking.supply(asked.access_request_id, "yes")


def test_asking_twice_is_asking_once_until_it_is_answered(asking: Asking) -> None:
    first = asking.ask()
    before = asking.plane.revision
    assert asking.ask().access_request_id == first.access_request_id
    assert asking.plane.revision == before
    asking.answer(first.access_request_id, refusal="no")
    assert asking.ask().access_request_id != first.access_request_id


def test_only_a_runtime_that_is_served_can_ask(asking: Asking) -> None:
    with refused("NOT_SERVED", "access_request.application_id"):
        asking.ask(asking.stranger)


def test_only_what_the_application_has_can_be_asked_for(asking: Asking) -> None:
    with refused("API_NOT_FOUND", "access_request.api_id"):
        asking.ask(api_id=new_id())
    with refused("APPLICATION_NOT_FOUND", "access_request.application_id"):
        asking.ask(application_id=new_id(), api_id=asking.api)
    with refused("RUNTIME_NOT_FOUND", "access_request.runtime_id"):
        asking.ask(new_id())


def test_only_the_application_that_was_asked_can_answer(asking: Asking) -> None:
    asked = asking.ask()
    other = asking.plane.application().application_id
    with refused("ACCESS_REQUEST_NOT_FOUND", "access_request_id"):
        asking.answer(asked.access_request_id, other, refusal="no")


def test_a_request_that_is_withdrawn_takes_what_was_supplied_along(asking: Asking) -> None:
    asked = asking.ask()
    asking.supply(asked.access_request_id, "own")
    with refused("ACCESS_REQUEST_NOT_FOUND", "access_request_id"):
        asking.withdraw(asked.access_request_id, asking.neighbour)
    asking.withdraw(asked.access_request_id)
    assert asking.fetched(asking.runtime) == []
    assert asking.requests() == []


def test_what_a_later_request_was_supplied_stays_when_an_earlier_one_is_withdrawn(asking: Asking) -> None:
    earlier = asking.ask()
    asking.supply(earlier.access_request_id, "first")
    later = asking.ask()
    asking.supply(later.access_request_id, "second")
    asking.withdraw(earlier.access_request_id)
    assert asking.tokens(asking.runtime) == ["second"]
    asking.withdraw(later.access_request_id)
    assert asking.tokens(asking.runtime) == []


def test_what_a_later_request_was_supplied_goes_with_it_and_brings_nothing_older_back(asking: Asking) -> None:
    earlier = asking.ask()
    asking.supply(earlier.access_request_id, "first")
    later = asking.ask()
    asking.supply(later.access_request_id, "second")
    asking.withdraw(later.access_request_id)
    assert asking.tokens(asking.runtime) == []
    asking.withdraw(earlier.access_request_id)
    assert asking.requests() == []


def test_a_later_request_that_was_not_supplied_keeps_nothing_from_going(asking: Asking) -> None:
    earlier = asking.ask()
    asking.supply(earlier.access_request_id, "first")
    refused_later = asking.ask()
    asking.answer(refused_later.access_request_id, refusal="you have one")
    assert asking.ask().state == PENDING
    asking.withdraw(earlier.access_request_id)
    assert asking.tokens(asking.runtime) == []


def test_a_request_that_was_not_supplied_takes_nothing_along(asking: Asking) -> None:
    supplied = asking.ask()
    asking.supply(supplied.access_request_id, "own")
    refused_later = asking.ask()
    asking.answer(refused_later.access_request_id, refusal="you have one")
    asking.withdraw(refused_later.access_request_id)
    asking.withdraw(asking.ask().access_request_id)
    assert asking.tokens(asking.runtime) == ["own"]


def test_what_others_or_other_targets_were_supplied_later_is_not_looked_at(asking: Asking) -> None:
    asked = asking.ask()
    asking.supply(asked.access_request_id, "own")
    for later in (asking.ask(asking.neighbour), asking.ask(bundle_id=asking.bundle)):
        asking.supply(later.access_request_id, "other")
    asking.withdraw(asked.access_request_id)
    assert asking.tokens(asking.runtime) == ["other"]
    assert asking.tokens(asking.neighbour) == ["other"]


def test_what_the_application_put_in_the_place_of_what_it_supplied_goes_too(asking: Asking) -> None:
    asked = asking.ask()
    asking.supply(asked.access_request_id, "own")
    asking.set("renewed", runtime=asking.runtime)
    asking.withdraw(asked.access_request_id)
    assert asking.tokens(asking.runtime) == []


def test_requests_are_read_oldest_first_by_whom_and_how_far(asking: Asking) -> None:
    first = asking.ask()
    second = asking.ask(asking.neighbour, bundle_id=asking.bundle)
    asking.answer(first.access_request_id, refusal="no")
    ids = [first.access_request_id, second.access_request_id]
    assert [each.access_request_id for each in asking.requests()] == ids
    assert [each.access_request_id for each in asking.requests(runtime_id=asking.neighbour)] == ids[1:]
    assert [each.access_request_id for each in asking.requests(state=PENDING)] == ids[1:]
    assert asking.requests(application_id=new_id()) == []


def test_requests_are_read_in_pages_that_miss_and_repeat_none(asking: Asking) -> None:
    ids = [asking.ask(asking.plane.runtime(group_ids=[asking.group]).runtime_id).access_request_id for _ in range(5)]
    found, token = [], ""
    while True:
        request = ListAccessRequestsRequest(page_size=2, page_token=token)
        page = asking.plane.read(access_requests.list_access_requests, request)
        found += [each.access_request_id for each in page.access_requests]
        token = page.next_page_token
        if not token:
            break
    assert found == ids


def test_the_application_hears_of_a_request_by_its_webhook(asking: Asking) -> None:
    asking.plane.add_webhook(asking.application)
    asked = asking.ask()
    [notice] = asking.plane.rows(tables.notices)
    body = json.loads(notice["body"])
    assert body["type"] == "ACCESS_REQUESTED"
    assert body["data"]["access_request"] == {
        "access_request_id": asked.access_request_id,
        "runtime_id": asking.runtime,
        "api_id": asking.api,
    }

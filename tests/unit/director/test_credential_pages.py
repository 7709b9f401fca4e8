"""Credentials are read in pages that miss and repeat none, in the order that the contract says."""

from functools import partial
from pathlib import Path

import pytest
from moorage.director.v1.credential_pb2 import (
    FetchCredentialsRequest,
    FetchCredentialsResponse,
    ListCredentialsRequest,
)

from director import credentials
from tests.support.sealing import sealing
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused
from tests.unit.director.vault import Vault


class Filled(Vault):
    """Several APIs have a shared credential, some of them one for a Runtime as well; another Application has one."""

    def fill(self) -> None:
        self.apis = sorted([self.api, *(self.plane.api(self.application).api_id for _ in range(4))])
        for api_id in self.apis:
            self.set("shared", api_id=api_id)
        for api_id in self.apis[1:4]:
            self.set("own", api_id=api_id, runtime=self.runtime)
        self.set("of the bundle", bundle_id=self.bundle, runtime=self.neighbour)
        self.other_application = self.plane.application().application_id
        self.other_api = self.plane.api(self.other_application).api_id
        self.set("of another", application_id=self.other_application, api_id=self.other_api)

    def list_page(self, token: str, size: int) -> tuple[list[tuple[str, str]], str]:
        request = ListCredentialsRequest(application_id=self.application, page_size=size, page_token=token)
        response = self.plane.read(credentials.list_credentials, request)
        found = [(each.runtime_id, each.api_id or each.bundle_id) for each in response.credentials]
        return found, response.next_page_token

    def fetch_page(self, token: str, size: int, application: str = "") -> FetchCredentialsResponse:
        request = FetchCredentialsRequest(
            runtime_id=self.runtime, application_id=application, page_size=size, page_token=token
        )
        return self.plane.read(partial(credentials.fetch_credentials, seal=self.seal), request)


@pytest.fixture
def filled(plane: Plane, tmp_path: Path) -> Filled:
    filled = Filled(plane, sealing(plane, tmp_path / "sealing.key"))
    filled.fill()
    return filled


@pytest.mark.parametrize("size", [1, 2, 50])
def test_a_list_has_shared_ones_first_and_then_those_of_each_runtime(filled: Filled, size: int) -> None:
    found, token = filled.list_page("", size)
    while token:
        page, token = filled.list_page(token, size)
        found += page
    shared = [("", api_id) for api_id in filled.apis]
    own = [(filled.runtime, api_id) for api_id in filled.apis[1:4]] + [(filled.neighbour, filled.bundle)]
    assert found == shared + sorted(own)


@pytest.mark.parametrize("size", [1, 2, 50])
def test_what_is_fetched_is_ordered_by_application_and_target_with_one_for_each(filled: Filled, size: int) -> None:
    page = filled.fetch_page("", size)
    found = list(page.credentials)
    while page.next_page_token:
        page = filled.fetch_page(page.next_page_token, size)
        found += page.credentials
    assert [each.api_id for each in found] == filled.apis
    assert [each.bearer.token for each in found] == ["shared", "own", "own", "own", "shared"]
    assert page.revision == filled.plane.revision


def test_what_is_fetched_of_one_application_is_only_of_that_and_only_where_it_serves(filled: Filled) -> None:
    assert len(filled.fetch_page("", 0, filled.application).credentials) == 5
    assert len(filled.fetch_page("", 0, filled.other_application).credentials) == 0
    assert len(filled.fetch_page("", 0, new_id()).credentials) == 0


def test_the_token_of_one_runtime_is_of_no_use_to_another(filled: Filled) -> None:
    token = filled.fetch_page("", 1).next_page_token
    request = FetchCredentialsRequest(runtime_id=filled.neighbour, page_size=1, page_token=token)
    with refused("PAGE_TOKEN_INVALID", "page_token"):
        filled.plane.read(partial(credentials.fetch_credentials, seal=filled.seal), request)

"""Page tokens: given for one request, good for no other."""

import base64
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st
from moorage.director.v1.application_pb2 import ListApplicationsRequest
from moorage.director.v1.group_pb2 import ListGroupsRequest
from moorage.director.v1.runtime_pb2 import ListRuntimesRequest

from mesh.errors import Refusal
from mesh.paging import DEFAULT_PAGE_SIZE, PageToken, read_page

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=63)
KEYS = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(KEYS, st.integers(0, 1000))
def test_a_token_gives_back_its_key_whatever_the_page_size(key: tuple[str, ...], page_size: int) -> None:
    token = PageToken.encode(key, ListApplicationsRequest())
    assert PageToken.decode(token, ListApplicationsRequest(page_size=page_size, page_token=token)) == key


@given(st.lists(TEXTS | INTEGERS, min_size=1, max_size=3).map(tuple))
def test_a_token_keeps_the_types_of_its_key(key: tuple[str | int, ...]) -> None:
    token = PageToken.encode(key, ListApplicationsRequest())
    assert PageToken.decode(token, ListApplicationsRequest(), [type(part) for part in key]) == key


@pytest.mark.parametrize(
    "key", [("a",), ("a", 1, 2), (1, "a"), ("a", "1"), ("a", True), ("a", 1.0), ("a", None), ("a\0", 1), ("a", 2**63)]
)
def test_a_token_around_another_kind_of_key_is_refused(key: tuple[Any, ...]) -> None:
    token = PageToken.encode(key, ListApplicationsRequest())
    with pytest.raises(Refusal) as caught:
        PageToken.decode(token, ListApplicationsRequest(), (str, int))
    assert caught.value.name == "PAGE_TOKEN_INVALID"


def test_no_token_is_the_beginning() -> None:
    assert PageToken.decode("", ListApplicationsRequest()) is None


@given(KEYS, st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_that_was_tampered_with_is_refused(key: tuple[str, ...], place: int, change: int) -> None:
    token = PageToken.encode(key, ListApplicationsRequest())
    place %= len(token)
    tampered = token[:place] + chr(ord(token[place]) ^ change) + token[place + 1 :]
    with pytest.raises(Refusal) as caught:
        PageToken.decode(tampered, ListApplicationsRequest())
    assert caught.value.name == "PAGE_TOKEN_INVALID"


@given(st.text(min_size=1, max_size=512))
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        PageToken.decode(text, ListApplicationsRequest())
    assert caught.value.name == "PAGE_TOKEN_INVALID"
    assert caught.value.violations[0].field == "page_token"


@pytest.mark.parametrize("body", [b'["\\ud800"]', b"[1, 2]", b'{"a": 1}', b'"ab"', b"7", b"null", b"[" * 300])
def test_a_token_around_what_is_no_key_is_refused(body: bytes) -> None:
    token = base64.urlsafe_b64encode(bytes(12) + body).rstrip(b"=").decode()
    with pytest.raises(Refusal) as caught:
        PageToken.decode(token, ListApplicationsRequest())
    assert caught.value.name == "PAGE_TOKEN_INVALID"


def test_a_token_of_another_method_is_refused() -> None:
    token = PageToken.encode(("a",), ListApplicationsRequest())
    with pytest.raises(Refusal):
        PageToken.decode(token, ListRuntimesRequest())


def test_a_token_of_the_same_method_with_another_filter_is_refused() -> None:
    token = PageToken.encode(("a",), ListGroupsRequest(application_id="1"))
    assert PageToken.decode(token, ListGroupsRequest(application_id="1")) == ("a",)
    with pytest.raises(Refusal):
        PageToken.decode(token, ListGroupsRequest(application_id="2"))


def test_which_fields_are_shown_may_change_from_page_to_page() -> None:
    token = PageToken.encode(("a",), ListApplicationsRequest())
    assert PageToken.decode(token, ListApplicationsRequest(read_mask=FieldMask(paths=["name"]))) == ("a",)
    for other in (ListApplicationsRequest(filter="a"), ListApplicationsRequest(order_by="name")):
        with pytest.raises(Refusal):
            PageToken.decode(token, other)


def test_a_page_size_of_zero_means_the_default() -> None:
    asked: list[int] = []

    def read(after: tuple[str, ...] | None, limit: int) -> list[str]:
        asked.append(limit)
        return ["x"] * limit

    page = read_page(ListApplicationsRequest(), read, lambda row: (row,))
    assert len(page.rows) == DEFAULT_PAGE_SIZE
    assert asked == [DEFAULT_PAGE_SIZE + 1]


def test_the_last_page_has_no_token_even_when_it_is_full() -> None:
    page = read_page(ListApplicationsRequest(page_size=2), lambda after, limit: ["a", "b"], lambda row: (row,))
    assert page.rows == ["a", "b"]
    assert page.next_page_token == ""

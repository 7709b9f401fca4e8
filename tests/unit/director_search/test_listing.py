"""What a List method answers: a page, what is next, how much there is, and the fields that were asked for."""

from collections.abc import Iterator

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.runtime_pb2 import ListRuntimesRequest, Runtime
from sqlalchemy import Connection

from director.search import resources
from director.search.fields import Searchable, Type
from director.search.listing import Listing, read_list
from director.store import registry
from director.store.registry import RUNTIMES, Registry, Values
from tests.unit.director.refused import refused
from tests.unit.director_search.rows import Rows, runtime

KINDS = {
    "application": (registry.APPLICATIONS, resources.APPLICATION_SEARCH),
    "api": (registry.APIS, resources.API_SEARCH),
    "event_api": (registry.EVENT_APIS, resources.EVENT_API_SEARCH),
    "bundle": (registry.BUNDLES, resources.BUNDLE_SEARCH),
    "document": (registry.DOCUMENTS, resources.DOCUMENT_SEARCH),
    "group": (registry.GROUPS, resources.GROUP_SEARCH),
    "runtime": (registry.RUNTIMES, resources.RUNTIME_SEARCH),
    "label_definition": (registry.LABEL_DEFINITIONS, resources.LABEL_DEFINITION_SEARCH),
}


@pytest.fixture
def tx(rows: Rows) -> Iterator[Connection]:
    held = [runtime(f"r-{number}", state=1 + number % 2, create_time=number // 4) for number in range(10)]
    with rows.holding(held) as tx:
        yield tx


def listing(tx: Connection, request: ListRuntimesRequest) -> Listing:
    return read_list(tx, RUNTIMES, resources.RUNTIME_SEARCH, request)


def message(row: Values) -> Runtime:
    return Runtime(runtime_id=row["runtime_id"], name=row["name"], state=row["state"])


def test_every_page_says_how_many_there_are_under_the_filter(tx: Connection) -> None:
    request = ListRuntimesRequest(page_size=2, filter="state = PENDING", order_by="create_time desc, name")
    names = []
    while True:
        page = listing(tx, request)
        assert page.total_size == 5
        names += [row["name"] for row in page.rows]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert names == ["r-8", "r-4", "r-6", "r-0", "r-2"]


def test_a_list_that_is_one_page_has_the_size_of_the_page(tx: Connection) -> None:
    assert listing(tx, ListRuntimesRequest()).total_size == 10
    assert listing(tx, ListRuntimesRequest(filter="nobody")).total_size == 0


def test_a_page_token_is_for_its_filter_and_order_and_for_any_mask(tx: Connection) -> None:
    request = ListRuntimesRequest(page_size=2, filter="r", order_by="state")
    request.page_token = listing(tx, request).next_page_token
    request.read_mask.paths.append("name")
    assert len(listing(tx, request).rows) == 2
    request.order_by = "state desc"
    with refused("PAGE_TOKEN_INVALID", "page_token"):
        listing(tx, request)
    request.order_by, request.filter = "state", "-r"
    with refused("PAGE_TOKEN_INVALID", "page_token"):
        listing(tx, request)


def test_messages_have_the_fields_that_were_asked_for(tx: Connection) -> None:
    request = ListRuntimesRequest(page_size=1, read_mask=FieldMask(paths=["name"]))
    assert listing(tx, request).messages(message) == [Runtime(name="r-0")]


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (ListRuntimesRequest(filter="("), "FILTER_INVALID", "filter"),
        (ListRuntimesRequest(order_by="x"), "FIELD_INVALID", "order_by"),
        (ListRuntimesRequest(read_mask=FieldMask(paths=["x"])), "FIELD_INVALID", "read_mask"),
        (ListRuntimesRequest(page_token="x"), "PAGE_TOKEN_INVALID", "page_token"),
    ],
)
def test_what_cannot_be_listed_is_refused(
    tx: Connection, request_: ListRuntimesRequest, reason: str, field: str
) -> None:
    with refused(reason, field):
        listing(tx, request_)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_every_kind_can_be_searched_by(rows: Rows, kind: str) -> None:
    of_kind: tuple[Registry, Searchable] = KINDS[kind]
    with rows.holding([]) as tx:
        for field in of_kind[1].fields.values():
            for restriction in (f"{field.name}:*", *TESTS[field.type]):
                request = ListRuntimesRequest(page_size=1, filter=restriction.format(field.name))
                assert read_list(tx, *of_kind, request).rows == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_ordered_by_what_is_never_missing(rows: Rows, kind: str) -> None:
    registry, searchable = KINDS[kind]
    with rows.holding([]) as tx:
        for name, field in searchable.sortable.items():
            for order_by in (name, f"{name} desc"):
                assert read_list(tx, registry, searchable, ListRuntimesRequest(order_by=order_by)).rows == []
            assert not registry.table.c[field.column].nullable


TESTS = {
    Type.TEXT: ["{} = x", "{} < x", "{}:x", "{} = *x*"],
    Type.INTEGER: ["{} = 1", "{} < 1"],
    Type.BOOLEAN: ["{} = true", "{} = false"],
    Type.ENUM: ["{} = UNSPECIFIED"],
    Type.TIME: ["{} > 2026-01-31T10:00:00Z"],
    Type.LABELS: ["{}.x = y", "{}:x", "-{}.x:y*"],
}

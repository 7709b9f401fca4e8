"""The List methods: a page of what a request asks for, and how much there is of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

from director.search.fields import Searchable
from director.search.masks import ReadMask
from director.search.query import read_query
from director.store import Transaction
from director.store.registry import Registry, Values
from director.store.search import NOWHERE
from mesh.paging import read_page

M = TypeVar("M", bound=Message)


class Listing(NamedTuple):
    """One page: its rows, the token for the next one, empty on the last, and how many there are on all pages."""

    rows: Sequence[Values]
    next_page_token: str
    total_size: int
    mask: ReadMask

    def messages(self, message: Callable[[Values], M]) -> list[M]:
        """The `message` of each row, with the fields that the caller wants to see."""
        return [self.mask.apply(message(row)) for row in self.rows]


def read_list(
    tx: Transaction,
    registry: Registry,
    searchable: Searchable,
    request: Message,
    within: Mapping[str, str] = NOWHERE,
) -> Listing:
    """What a List `request` asks for by its `filter`, `order_by`, `page_size`, `page_token` and `read_mask`.

    `within` are scopes of the registry that narrow the list; an empty one does not. Raises `Refusal` (FILTER_INVALID,
    FIELD_INVALID, PAGE_TOKEN_INVALID).
    """
    search = registry.search
    query = read_query(request, searchable)
    mask = ReadMask(getattr(request, "read_mask"), searchable.message)  # noqa: B009 - List requests share no type
    scopes = {name: value for name, value in within.items() if value}
    page = read_page(
        request,
        lambda after, limit: search.page(tx, query, after, limit, scopes),
        lambda row: search.place(row, query),
        types=search.place_types(query),
    )
    is_all = not page.next_page_token and not getattr(request, "page_token")  # noqa: B009
    total = len(page.rows) if is_all else search.total(tx, query, scopes)
    return Listing(page.rows, page.next_page_token, total, mask)

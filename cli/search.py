"""What every `list` takes: which resources to show (AIP-160), in which order, and how many to ask for at a time."""

from dataclasses import dataclass
from typing import Protocol

import click

from cli.connection import LARGEST_PAGE, PagedRequest
from cli.options import gathered


class SearchRequest(PagedRequest, Protocol):
    """A request of a List method that filters and orders."""

    filter: str
    order_by: str


@dataclass(frozen=True)
class Search:
    """What to look for."""

    filter: str | None
    order_by: str | None
    page_size: int | None

    def put(self, request: SearchRequest) -> None:
        """Ask for it in `request`."""
        request.filter = self.filter or ""
        request.order_by = self.order_by or ""
        request.page_size = self.page_size or 0


NO_SEARCH = Search(None, None, None)
"""What is asked for where nothing is: everything, in its own order."""

page_size_option = click.option(
    "--page-size",
    type=click.IntRange(1, LARGEST_PAGE),
    help=f"How many to ask for at a time; all pages are shown.  [default: {LARGEST_PAGE:,}]",
)
search_options = gathered(
    "search",
    Search,
    click.option(
        "--filter", help='Only those that meet it (AIP-160), such as \'name = "shop" AND labels.env = "prod"\'.'
    ),
    click.option("--order-by", help="Fields to order by, comma-separated, each with ' desc' where wanted."),
    page_size_option,
)

"""What an export or an import tells of itself."""

from collections.abc import Callable
from dataclasses import dataclass

Tell = Callable[[str], None]
"""Is told a line, now and then, of how far it has come."""


@dataclass(frozen=True)
class Transfer:
    """What was moved."""

    plane_id: str
    revision: int
    rows: int
    tables: dict[str, int]
    """Rows by their tables."""
    sha256: str
    """Of all lines before the footer: the same for the same registry."""
    sealing_keys: list[str]
    """The keys of which the Director that is to open the secrets needs one each time: its data keys' wrappings."""


def tell_now_and_then(tell: Tell, rows: int, table: str) -> None:
    """Say how far it has come at every ten-thousandth row."""
    if rows % _ROWS_BETWEEN == 0:
        tell(f"{rows} rows, at {table}")


_ROWS_BETWEEN = 10_000

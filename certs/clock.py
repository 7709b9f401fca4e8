"""Where the time comes from: passed in everywhere, so that tests need not wait."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the time now as an aware `datetime` in UTC."""


def system_clock() -> datetime:
    """The host's wall clock, in UTC."""
    return datetime.now(UTC)

"""Expect a refusal: its reason, and the fields that it blames."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mesh.errors import Refusal


@contextmanager
def refused(reason: str, *fields: str) -> Iterator[Refusal]:
    """The block must raise a `Refusal` for `reason`, with a violation for each of `fields` and no other.

    The refusal that is yielded is filled in when the block ends.
    """
    refusal = Refusal.__new__(Refusal)
    with pytest.raises(Refusal) as caught:
        yield refusal
    refusal.__dict__.update(caught.value.__dict__)
    assert caught.value.name == reason
    assert [each.field for each in caught.value.violations] == list(fields)

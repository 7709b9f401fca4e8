"""A plane that several modules share, for each starts four processes."""

from collections.abc import Iterator

import pytest

from tests.support.plane import Up


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running plane for all tests of this run, or of this worker of it, that only add to it, by names of their own.

    A module whose tests do more than that, or look at all there is, has a plane of its own by the same name.
    """
    with Up(tmp_path_factory.mktemp("shared") / "home") as plane:
        yield plane

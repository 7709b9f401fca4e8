"""A file that is written bit by bit appears whole or not at all."""

import os
from pathlib import Path

import pytest

from certs.files import PRIVATE, appearing


def test_it_is_there_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with appearing(path, PRIVATE) as file:
        file.write(b"some of it, ")
        file.flush()
        assert not path.exists()
        file.write(b"and the rest")
    assert path.read_bytes() == b"some of it, and the rest"
    assert list(tmp_path.iterdir()) == [path]


def test_it_has_its_mode_whatever_the_umask_and_from_the_first_byte_on(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with appearing(tmp_path / "file", PRIVATE):
            assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [PRIVATE]
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == PRIVATE


def write_and_fail(path: Path) -> None:
    with appearing(path, PRIVATE) as file:
        file.write(b"some of it")
        raise RuntimeError


def test_nothing_is_left_of_one_that_was_not_ended(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_and_fail(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_what_came_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileExistsError), appearing(path, PRIVATE):
        path.write_bytes(b"another's")
    assert path.read_bytes() == b"another's"
    assert list(tmp_path.iterdir()) == [path]

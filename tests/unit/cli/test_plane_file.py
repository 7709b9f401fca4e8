"""`plane.json`: what it holds, and what its absence means."""

import json
from pathlib import Path

import pytest

from cli.plane.plane_file import Plane, read_plane
from mesh.exits import Exit, Stopped

PLANE = Plane(
    director="127.0.0.1:7443",
    connector="127.0.0.1:7444",
    enrolment="127.0.0.1:7445",
    provisioner="127.0.0.1:7446",
    trust_domain="moorage.internal",
    root_sha256="ab" * 32,
    pids={"up": 1, "director": 2},
)


def test_a_plane_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    PLANE.write(tmp_path / "plane.json")
    assert read_plane(tmp_path / "plane.json") == PLANE


def test_the_file_has_the_names_that_the_design_gives(tmp_path: Path) -> None:
    PLANE.write(tmp_path / "plane.json")
    assert list(json.loads((tmp_path / "plane.json").read_text())) == [
        "director",
        "connector",
        "enrolment",
        "provisioner",
        "trust_domain",
        "root_sha256",
        "pids",
    ]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"director": "127.0.0.1:7443"}'])
def test_no_whole_file_means_that_no_plane_runs(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "plane.json").write_text(content)
    with pytest.raises(Stopped, match="start one with `moorage up") as refused:
        read_plane(tmp_path / "plane.json")
    assert refused.value.code is Exit.UNAVAILABLE

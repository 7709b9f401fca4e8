"""The configuration on disk: verified when it is opened, shared where it did not change."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from moorage.director.v1.configuration_pb2 import ApplicationConfiguration

from agent.cache import Applied, Cache, CacheRefused
from agent.configuration import Configuration
from agent.disk import Disk
from tests.support.configurations import OTHER_PLANE, application, application_id_of, configuration
from tests.unit.agent.disks import CountingDisk, shown

AT = datetime(2030, 1, 1, tzinfo=UTC)
FIRST = application_id_of(1)


def opened(folder: Path, disk: Disk | None = None) -> Cache:
    cache = Cache(folder, disk or Disk())
    cache.open()
    return cache


def apply(cache: Cache, new: Configuration) -> None:
    generation = cache.build(new)
    cache.show(generation)
    cache.confirm(generation, new, AT)
    cache.prune()


def test_a_new_cache_holds_nothing(tmp_path: Path) -> None:
    assert Cache(tmp_path / "new" / "folder", Disk()).open() is None
    assert shown(tmp_path / "new" / "folder") is None


@pytest.mark.check("stream-20")
def test_what_was_applied_is_there_after_a_restart(tmp_path: Path) -> None:
    new = configuration(7, application(1), application(2))
    apply(opened(tmp_path), new)
    assert Cache(tmp_path, Disk()).open() == Applied(new, "7", AT)
    assert shown(tmp_path) == new


def test_each_application_is_one_file_in_the_protobuf_json_mapping(tmp_path: Path) -> None:
    apply(opened(tmp_path), configuration(7, application(1, version=3)))
    content = json.loads((tmp_path / "current" / f"{FIRST}.json").read_text())
    assert content["applicationId"] == FIRST
    assert content["apis"][0]["targetUrl"] == "https://3.test"


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    disk = CountingDisk()
    cache = opened(tmp_path, disk)
    apply(cache, configuration(1, application(1), application(2)))
    disk.written.clear()
    apply(cache, configuration(2, application(1), application(2, version=2)))
    assert sorted(disk.written) == sorted([f"{application_id_of(2)}.json", "manifest.json"])
    assert disk.linked == [f"{FIRST}.json"]
    assert shown(tmp_path) == configuration(2, application(1), application(2, version=2))


def test_a_disk_without_hard_links_will_do(tmp_path: Path) -> None:
    class NoLinks(Disk):
        def link(self, source: Path, folder: Path, names: Iterable[str]) -> None:
            super().link(source, folder, list(names)[:1])
            raise PermissionError(1, "Operation not permitted")

    cache = opened(tmp_path, NoLinks())
    apply(cache, configuration(1, application(1), application(2)))
    after = configuration(2, application(1), application(2), application(3))
    apply(cache, after)
    assert shown(tmp_path) == after


def test_the_last_good_generation_and_the_one_before_are_kept(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    for revision in (1, 2, 3):
        apply(cache, configuration(revision, application(1, version=revision)))
    assert {each.name for each in (tmp_path / "generations").iterdir()} == {"2", "3"}


def test_a_generation_that_was_shown_but_not_confirmed_is_not_good(tmp_path: Path) -> None:
    good = configuration(1, application(1))
    cache = opened(tmp_path)
    apply(cache, good)
    cache.show(cache.build(configuration(2, application(1, version=2))))
    reopened = Cache(tmp_path, Disk()).open()
    assert reopened is not None
    assert reopened.configuration == good
    assert shown(tmp_path) == good


def test_a_bookmark_moves_the_resume_point_and_no_file(tmp_path: Path) -> None:
    disk = CountingDisk()
    cache = opened(tmp_path, disk)
    new = configuration(1, application(1))
    apply(cache, new)
    disk.written.clear()
    cache.confirm("1", new.moved(9), AT)
    reopened = Cache(tmp_path, Disk()).open()
    assert reopened is not None
    assert reopened.configuration == new.moved(9)
    assert disk.written == []


def test_the_same_revision_of_another_plane_finds_a_place(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    apply(cache, configuration(4, application(1)))
    for version in (2, 3):
        other = configuration(4, application(1, version=version), plane=OTHER_PLANE)
        apply(cache, other)
        assert shown(tmp_path) == other


def test_fields_that_a_newer_plane_sends_are_not_lost(tmp_path: Path) -> None:
    newer = ApplicationConfiguration.FromString(
        application(1).SerializeToString() + bytes([0xFA, 0x07, 3]) + b"new"  # field 127, a string
    )
    new = configuration(1, newer)
    assert new.content_sha256 != configuration(1, application(1)).content_sha256
    cache = opened(tmp_path)
    apply(cache, new)
    apply(cache, configuration(2, newer, application(2)))
    reopened = Cache(tmp_path, Disk()).open()
    assert reopened is not None
    assert reopened.configuration == configuration(2, newer, application(2))


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.unlink()
        path.write_text(text.replace(old, new))

    return edit


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)

    return write


APPLICATION = f"current/{FIRST}.json"


@pytest.mark.check("stream-20")
@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(_edit(APPLICATION, "https://1.test", "https://evil.test"), id="a changed application"),
        pytest.param(_edit(APPLICATION, FIRST, application_id_of(3)), id="an application under another's name"),
        pytest.param(_write(APPLICATION, b""), id="an emptied application"),
        pytest.param(_write(APPLICATION, b"\xff\xfe"), id="an application of noise"),
        pytest.param(_write(f"current/{FIRST}.binpb", b"\xff"), id="noise beside an application"),
        pytest.param(lambda folder: (folder / APPLICATION).unlink(), id="an application that is missing"),
        pytest.param(_write(f"current/{application_id_of(9)}.json", b"{}"), id="an application too many"),
        pytest.param(_write("current/run.sh", b"#!/bin/sh"), id="a stray file"),
        pytest.param(_edit("current/manifest.json", '"content_sha256": "', '"content_sha256": "00'), id="the hash"),
        pytest.param(_edit("current/manifest.json", '"revision": 7', '"revision": 8'), id="a later revision"),
        pytest.param(_write("current/manifest.json", b"[]"), id="a manifest that is none"),
        pytest.param(lambda folder: (folder / "current/manifest.json").unlink(), id="a manifest that is missing"),
        pytest.param(_edit("resume.json", '"7"', '"../../identity"'), id="a generation elsewhere"),
        pytest.param(_edit("resume.json", '"generation": "7"', '"generation": "6"'), id="no such generation"),
        pytest.param(_edit("resume.json", '"revision": 7', '"revision": 6'), id="an earlier resume point"),
        pytest.param(_write("resume.json", b"{"), id="half a resume point"),
    ],
)
def test_a_cache_that_was_tampered_with_is_refused_and_gone(tmp_path: Path, tamper: Callable[[Path], object]) -> None:
    apply(opened(tmp_path), configuration(7, application(1), application(2)))
    tamper(tmp_path)
    cache = Cache(tmp_path, Disk())
    with pytest.raises(CacheRefused):
        cache.open()
    assert shown(tmp_path) is None
    assert Cache(tmp_path, Disk()).open() is None
    again = configuration(7, application(1))
    apply(cache, again)
    assert shown(tmp_path) == again

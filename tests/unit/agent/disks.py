"""Disks that fail, and what a reader finds on one."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from google.protobuf import json_format
from moorage.director.v1.configuration_pb2 import ApplicationConfiguration

from agent.configuration import Configuration
from agent.disk import Disk


class FailingDisk(Disk):
    """Once armed, fails at the operation of the given number, before or after doing it.

    With `for_good` every later one fails as well, as if the process had been killed there. Before and after each, it
    looks at what a reader of `folder` finds.
    """

    def __init__(self, folder: Path, at: int, *, after_doing: bool, for_good: bool = False) -> None:
        self._folder = folder
        self._at = at
        self._after_doing = after_doing
        self._for_good = for_good
        self._number: int | None = None
        self.seen_since_armed: set[str | None] = set()
        """Content hashes; "torn" for what is no whole configuration, None where there was nothing."""

    def arm(self) -> None:
        self._number = 0

    def disarm(self) -> None:
        self._number = None

    def make_folder(self, folder: Path) -> None:
        self._do(lambda: super(FailingDisk, self).make_folder(folder))

    def write(self, path: Path, content: bytes) -> None:
        self._do(lambda: super(FailingDisk, self).write(path, content))

    def link(self, source: Path, folder: Path, names: Iterable[str]) -> None:
        self._do(lambda: super(FailingDisk, self).link(source, folder, names))

    def sync(self, folder: Path) -> None:
        self._do(lambda: super(FailingDisk, self).sync(folder))

    def point(self, link: Path, target: str) -> None:
        self._do(lambda: super(FailingDisk, self).point(link, target))

    def replace(self, path: Path, content: bytes) -> None:
        self._do(lambda: super(FailingDisk, self).replace(path, content))

    def remove(self, path: Path) -> None:
        self._do(lambda: super(FailingDisk, self).remove(path))

    def _do(self, operation: Callable[[], None]) -> None:
        if self._number is None:
            operation()
            return
        self._number += 1
        self._look()
        dead = self._for_good and self._number > self._at
        if dead or (self._number == self._at and not self._after_doing):
            raise OSError(28, "No space left on device")
        operation()
        self._look()
        if self._number == self._at:
            raise OSError(28, "No space left on device")

    def _look(self) -> None:
        try:
            found = shown(self._folder)
        except AssertionError:
            self.seen_since_armed.add("torn")
        else:
            self.seen_since_armed.add(found.content_sha256 if found else None)


class CountingDisk(Disk):
    """Works, and counts what it wrote and linked."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.linked: list[str] = []

    def write(self, path: Path, content: bytes) -> None:
        super().write(path, content)
        self.written.append(path.name)

    def link(self, source: Path, folder: Path, names: Iterable[str]) -> None:
        linked = list(names)
        super().link(source, folder, linked)
        self.linked += linked


def shown(folder: Path) -> Configuration | None:
    """What a reader who follows `current` finds; None where it leads nowhere. Fails if it is torn."""
    try:
        generation = (folder / "current").resolve(strict=True)
    except FileNotFoundError:
        return None
    manifest = json.loads((generation / "manifest.json").read_text())
    applications = [
        json_format.Parse(path.read_text(), ApplicationConfiguration())
        for path in generation.glob("*.json")
        if path.name != "manifest.json"
    ]
    found = Configuration.snapshot(manifest["plane_id"], manifest["revision"], applications)
    assert found.content_sha256 == manifest["content_sha256"], "torn"
    return found

"""The configuration on disk: what readers follow, and what the agent starts from when the Director is away.

    current -> generations/42      what to read: one folder, never changed, swapped as a whole
    generations/42/                one `<application_id>.json` each (the protobuf JSON mapping), and `manifest.json`
    generations/41/                the one before, for readers that are still in it
    resume.json                    the last good generation, and the revision that it accounts for

`resume.json` has the last word: a generation that it does not name was never good, and `current` is led back.
Unchanged files are shared between generations by hard links. An application with fields that this agent does not know
has a `<application_id>.binpb` beside its JSON, so that nothing of it is lost.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from moorage.director.v1.configuration_pb2 import ApplicationConfiguration

from agent.configuration import Configuration, is_application_id
from agent.disk import Disk
from mesh import telemetry

_log = telemetry.logger("cache")

CURRENT = "current"
MANIFEST = "manifest.json"


class CacheRefused(Exception):
    """What is on disk is not what was applied. Nothing of it is used."""


class ApplicationFailed(Exception):
    """The files of one application cannot be written."""

    def __init__(self, application_id: str, cause: OSError) -> None:
        super().__init__(f"its files cannot be written: {cause.strerror or type(cause).__name__}")
        self.application_id = application_id


@dataclass(frozen=True, slots=True)
class Applied:
    """The last good configuration, its generation's name, and when it was applied."""

    configuration: Configuration
    generation: str
    applied_at: datetime


class Cache:
    """The configuration in `folder`, which is made if need be. For one thread at a time."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._generations = folder / "generations"
        self._disk = disk
        self._good: Applied | None = None
        self._before: str | None = None
        self._claimed: str | None = None

    @property
    def current(self) -> Path:
        """The link that readers follow."""
        return self._folder / CURRENT

    def open(self) -> Applied | None:
        """Check what is on disk and lead `current` to it; None where nothing was applied yet.

        Raises `CacheRefused` when it is not what was applied: then all of it is gone, so that nobody runs it.
        Raises `OSError` when the folder cannot be used.
        """
        self._generations.mkdir(parents=True, exist_ok=True)
        try:
            self._good = self._verified()
        except CacheRefused:
            self._disk.remove(self._folder / _RESUME)
            raise
        finally:
            self.restore()
            self.prune()
        return self._good

    def build(self, configuration: Configuration) -> str:
        """Write a new generation, which nobody looks at yet, and flush it; its name.

        Raises `ApplicationFailed` and `OSError`; `restore` and `prune` clear away what is left then.
        """
        name = self._free_name(configuration.revision)
        folder = self._generations / name
        self._disk.make_folder(folder)
        shared = self._share(folder, configuration)
        for application_id, application in configuration.applications.items():
            if application_id not in shared:
                self._write(folder, application_id, application)
        manifest = _Manifest(configuration.plane_id, configuration.revision, configuration.content_sha256)
        self._disk.write(folder / MANIFEST, _encoded(manifest))
        self._disk.sync(folder)
        self._disk.sync(self._generations)
        return name

    def show(self, generation: str) -> None:
        """Lead readers to `generation`. Until it is confirmed, a crash leads them back."""
        self._disk.point(self.current, f"{self._generations.name}/{generation}")

    def confirm(self, generation: str, configuration: Configuration, applied_at: datetime) -> Applied:
        """Make `generation` the last good one, for good."""
        self._claimed = generation  # until it is known which of the two the disk names, both are kept
        self._write_resume(generation, configuration, applied_at)
        self._claimed = None
        before = None if self._good is None else self._good.generation
        if before != generation:
            self._before = before
        self._good = Applied(configuration, generation, applied_at)
        return self._good

    def restore(self) -> None:
        """Lead readers to the last good generation, wherever they are led now."""
        if self._good is None:
            self._disk.remove(self.current)
            return
        target = f"{self._generations.name}/{self._good.generation}"
        if _target(self.current) != target:
            self.show(self._good.generation)
        self._disk.sync(self._folder)

    def prune(self) -> None:
        """Remove all generations but the last good one and the one before it."""
        kept = {self._before, self._claimed, self._good.generation if self._good else None}
        for folder in self._generations.iterdir():
            if folder.name not in kept:
                self._disk.remove(folder)

    def _free_name(self, revision: int) -> str:
        # The same revision comes twice from two planes, or from one whose cache was lost.
        names = (f"{revision}-{number}" if number else f"{revision}" for number in itertools.count())
        return next(name for name in names if not (self._generations / name).exists())

    def _share(self, folder: Path, configuration: Configuration) -> set[str]:
        """Link what the last good generation has already; the applications that need not be written."""
        if self._good is None:
            return set()
        digests = self._good.configuration.digests
        same = {key for key, digest in configuration.digests.items() if digests.get(key) == digest}
        source = self._generations / self._good.generation
        names = [file.name for file in source.iterdir() if file.name.partition(".")[0] in same]
        try:
            self._disk.link(source, folder, names)
        except OSError as error:  # not on this file system
            _log.warning("unchanged files are written again", failure=str(error))
            for name in names:
                self._disk.remove(folder / name)
            return set()
        return same

    def _write(self, folder: Path, application_id: str, application: ApplicationConfiguration) -> None:
        try:
            for suffix, content in _rendered(application):
                self._disk.write(folder / f"{application_id}{suffix}", content)
        except OSError as error:
            raise ApplicationFailed(application_id, error) from error

    def _write_resume(self, generation: str, configuration: Configuration, applied_at: datetime) -> None:
        resume = _Resume(
            generation, configuration.plane_id, configuration.revision, applied_at, configuration.credentials_revision
        )
        self._disk.replace(self._folder / _RESUME, _encoded(resume))

    def _verified(self) -> Applied | None:
        try:
            resume = msgspec.json.decode((self._folder / _RESUME).read_bytes(), type=_Resume)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise CacheRefused(f"{_RESUME} cannot be read: {error}") from error
        if not _GENERATION.fullmatch(resume.generation):
            raise CacheRefused(f"{_RESUME} names no generation")
        configuration = _read(self._generations / resume.generation)
        if configuration.plane_id != resume.plane_id or configuration.revision > resume.revision:
            raise CacheRefused(f"{_RESUME} does not go with generation {resume.generation}")
        configuration = replace(configuration.moved(resume.revision), credentials_revision=resume.credentials_revision)
        return Applied(configuration, resume.generation, resume.applied_at)


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plane_id: str
    revision: int
    content_sha256: str


class _Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    generation: str
    plane_id: str
    revision: int
    applied_at: datetime
    credentials_revision: int = 0


_RESUME = "resume.json"
_JSON = ".json"
_BINARY = ".binpb"
_SUFFIXES = (_JSON, _BINARY)
_GENERATION = re.compile(r"[0-9]+(-[0-9]+)?")


def _read(folder: Path) -> Configuration:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
        found = {path.name for path in folder.iterdir()} - {MANIFEST}
        ids = {name.removesuffix(_JSON) for name in found if name.endswith(_JSON)}
        if stray := found - {f"{each}{suffix}" for each in ids for suffix in _SUFFIXES}:
            raise CacheRefused(f"{folder.name} holds files that were not applied, such as {min(stray)}")
        applications = [_read_application(folder, each) for each in sorted(ids)]
    except (OSError, ValueError, msgspec.MsgspecError, json_format.ParseError, DecodeError) as error:
        raise CacheRefused(f"generation {folder.name} cannot be read: {error}") from error
    configuration = Configuration.snapshot(manifest.plane_id, manifest.revision, applications)
    if configuration.content_sha256 != manifest.content_sha256:
        raise CacheRefused(f"generation {folder.name} does not have the content that its manifest names")
    return configuration


def _read_application(folder: Path, application_id: str) -> ApplicationConfiguration:
    shown = json_format.Parse((folder / f"{application_id}{_JSON}").read_text("utf-8"), ApplicationConfiguration())
    whole = shown
    if (binary := folder / f"{application_id}{_BINARY}").exists():
        whole = ApplicationConfiguration.FromString(binary.read_bytes())
        known = ApplicationConfiguration.FromString(binary.read_bytes())
        known.DiscardUnknownFields()
        if known != shown:
            raise CacheRefused(f"{application_id}{_JSON} and {application_id}{_BINARY} differ")
    if shown.application_id != application_id or not is_application_id(application_id):
        raise CacheRefused(f"{application_id}{_JSON} holds another application")
    return whole


def _rendered(application: ApplicationConfiguration) -> Iterator[tuple[str, bytes]]:
    text = json_format.MessageToJson(application)
    yield _JSON, f"{text}\n".encode()
    whole = application.SerializeToString(deterministic=True)
    shown = json_format.Parse(text, ApplicationConfiguration())
    if shown.SerializeToString(deterministic=True) != whole:
        yield _BINARY, whole


def _encoded(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None

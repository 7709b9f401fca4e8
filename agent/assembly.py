"""From the messages of one stream to whole configurations: a revision is taken as a whole, or not at all."""

from enum import StrEnum, auto

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ApplicationConfiguration,
    WatchConfigurationResponse,
)

from agent.configuration import Configuration, is_application_id


class StreamReason(StrEnum):
    """What is wrong with a stream."""

    CONTENT_MISMATCH = auto()
    NOTHING_TO_CHANGE = auto()
    ANOTHER_PLANE = auto()
    NOT_INCREASING = auto()
    TORN = auto()
    MALFORMED = auto()


class StreamRefused(Exception):
    """The stream broke its contract: what it brought is dropped, and the next one begins with a snapshot."""

    def __init__(self, reason: StreamReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Assembly:
    """Follows one stream that was resumed from `held`, or begun with a snapshot where that is None."""

    def __init__(self, held: Configuration | None) -> None:
        self._held = held
        self._parts: list[WatchConfigurationResponse] = []

    def take(self, message: WatchConfigurationResponse) -> Configuration | None:
        """Take the next message: the configuration that it completes, or None while parts are missing.

        Raises `StreamRefused`; the assembly is of no use afterwards.
        """
        self._check_part(message)
        self._parts.append(message)
        if message.partial:
            return None
        parts, self._parts = self._parts, []
        self._held = _complete(self._held, parts)
        return self._held

    def _check_part(self, message: WatchConfigurationResponse) -> None:
        for each in message.applications:
            if not is_application_id(each.application_id):
                raise StreamRefused(StreamReason.MALFORMED, "an application's id is not a UUID")
        if not self._parts:
            return
        first = self._parts[0]
        if (message.plane_id, message.revision, message.kind) != (first.plane_id, first.revision, first.kind):
            raise StreamRefused(
                StreamReason.TORN, f"revision {message.revision} came in the middle of revision {first.revision}"
            )


def _complete(held: Configuration | None, parts: list[WatchConfigurationResponse]) -> Configuration:
    last = parts[-1]
    if last.kind == CONFIGURATION_KIND_SNAPSHOT:
        new = _snapshot(parts)
    elif last.kind == CONFIGURATION_KIND_DELTA:
        new = _delta(_base(held, last), parts)
    elif last.kind == CONFIGURATION_KIND_BOOKMARK:
        new = _bookmark(_base(held, last), last)
    else:
        raise StreamRefused(StreamReason.MALFORMED, f"a message of unknown kind {last.kind}")
    # A bookmark changes nothing, so it need not repeat the hash.
    expected = last.content_sha256 or (new.content_sha256 if last.kind == CONFIGURATION_KIND_BOOKMARK else "")
    if new.content_sha256 != expected:
        raise StreamRefused(
            StreamReason.CONTENT_MISMATCH,
            f"revision {last.revision} should have the content {expected or 'unknown'}, and has {new.content_sha256}",
        )
    return new.with_credentials(last.credentials_revision) if last.credentials_revision else new


def _snapshot(parts: list[WatchConfigurationResponse]) -> Configuration:
    if any(part.removed_application_ids for part in parts):
        raise StreamRefused(StreamReason.MALFORMED, "a snapshot removes something")
    return Configuration.snapshot(parts[-1].plane_id, parts[-1].revision, _applications(parts))


def _delta(base: Configuration, parts: list[WatchConfigurationResponse]) -> Configuration:
    if parts[-1].revision <= base.revision:
        raise _not_increasing(base, parts[-1])
    removed = [each for part in parts for each in part.removed_application_ids]
    return base.changed(parts[-1].revision, _applications(parts), removed)


def _bookmark(base: Configuration, message: WatchConfigurationResponse) -> Configuration:
    if message.revision < base.revision:
        raise _not_increasing(base, message)
    return base.moved(message.revision)


def _applications(parts: list[WatchConfigurationResponse]) -> list[ApplicationConfiguration]:
    return [each for part in parts for each in part.applications]


def _base(held: Configuration | None, message: WatchConfigurationResponse) -> Configuration:
    if held is None:
        raise StreamRefused(StreamReason.NOTHING_TO_CHANGE, "the stream began with a change of nothing")
    if held.plane_id != message.plane_id:
        raise StreamRefused(
            StreamReason.ANOTHER_PLANE, f"plane {message.plane_id} changes what plane {held.plane_id} sent"
        )
    return held


def _not_increasing(held: Configuration, message: WatchConfigurationResponse) -> StreamRefused:
    return StreamRefused(
        StreamReason.NOT_INCREASING, f"revision {message.revision} came after revision {held.revision}"
    )

"""The bytes of the stream.

An Application's configuration is serialised once, when it is read; a message is put together around these bytes, since
a field of a protobuf message may be written in any place.
"""

from collections.abc import Iterable, Iterator

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ConfigurationKind,
    ResetReason,
    WatchConfigurationResponse,
)

from director.stream.view import Difference, State

_LENGTH_DELIMITED = 2
_APPLICATIONS = WatchConfigurationResponse.APPLICATIONS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_REMOVED = WatchConfigurationResponse.REMOVED_APPLICATION_IDS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED


class Encoding:
    """How one plane's messages are written.

    `chunk_bytes` is about the most that one message has; a single larger Application still goes in one.
    """

    def __init__(self, plane_id: str, chunk_bytes: int) -> None:
        self._plane_id = plane_id
        self._chunk_bytes = chunk_bytes

    def snapshot(self, revision: int, state: State, reset: ResetReason.ValueType) -> Iterator[bytes]:
        """The whole of `state`."""
        items = (_field(_APPLICATIONS, entry.content) for entry in state.entries.values())
        return self._messages(CONFIGURATION_KIND_SNAPSHOT, revision, state, items, reset)

    def delta(self, revision: int, state: State, difference: Difference) -> tuple[bytes, ...]:
        """The `difference` that leads to `state`; nothing where there is none."""
        if not difference:
            return ()
        return tuple(self._messages(CONFIGURATION_KIND_DELTA, revision, state, _items(difference)))

    def bookmark(self, revision: int, state: State) -> bytes:
        """That `state` still holds at `revision`."""
        return next(self._messages(CONFIGURATION_KIND_BOOKMARK, revision, state, iter(())))

    def _messages(
        self,
        kind: ConfigurationKind.ValueType,
        revision: int,
        state: State,
        items: Iterator[bytes],
        reset: ResetReason.ValueType = ResetReason.RESET_REASON_UNSPECIFIED,
    ) -> Iterator[bytes]:
        message = WatchConfigurationResponse(
            plane_id=self._plane_id, revision=revision, kind=kind, reset=reset, partial=True
        )
        begin = message.SerializeToString()
        chunk, size = [begin], len(begin)
        for item in items:
            if size + len(item) > self._chunk_bytes and len(chunk) > 1:
                yield b"".join(chunk)
                chunk, size = [begin], len(begin)
            chunk.append(item)
            size += len(item)
        message.partial = False
        message.content_sha256 = state.content_sha256
        chunk[0] = message.SerializeToString()
        yield b"".join(chunk)


def with_credentials_revision(messages: Iterable[bytes], revision: int) -> Iterator[bytes]:
    """The `messages`, of which there is one at least, with `credentials_revision` in the last: for one reader alone."""
    # Messages of protobuf, one after the other, are one message with the fields of both.
    told = WatchConfigurationResponse(credentials_revision=revision).SerializeToString()
    following = iter(messages)
    message = next(following)
    for after in following:
        yield message
        message = after
    yield message + told


def _items(difference: Difference) -> Iterator[bytes]:
    for entry in difference.changed:
        yield _field(_APPLICATIONS, entry.content)
    for application_id in difference.removed:
        yield _field(_REMOVED, application_id.encode())


def _field(tag: int, content: bytes) -> bytes:
    """A length-delimited field as it is on the wire; `tag` is below 128."""
    length, encoded = len(content), bytearray((tag,))
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + content

"""Times as the tables keep them: whole microseconds since the Unix epoch."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(time: datetime) -> int:
    """Microseconds since the epoch of an aware `time`."""
    return (time - _EPOCH) // _MICROSECOND


def to_timestamp(micros: int) -> Timestamp:
    """The protobuf timestamp of `micros`."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def from_timestamp(timestamp: Timestamp) -> int:
    """Microseconds since the epoch of a protobuf `timestamp`, without what is less than one."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000

"""Logs and metrics: structured lines on stderr, numbers for Prometheus.

Nothing that is a secret goes into either. Field names that could carry one are blanked all the same, so that a slip
elsewhere shows up as `[redacted]`.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from mesh.structured import FilteringBoundLogger, structlog

_SECRET_FIELDS = frozenset({"token", "secret", "password", "passphrase", "authorization", "private_key", "csr"})

CALLS = Counter(
    "moorage_calls_total",
    "Calls that ended, by method, status code and reason.",
    ["method", "code", "reason"],
)
CALL_SECONDS = Histogram(
    "moorage_call_seconds",
    "Time from a unary call's arrival to its answer.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
STREAMS = Gauge("moorage_open_streams", "Streams that are open now.", ["method"])
STREAMS_WAITING = Gauge("moorage_streams_waiting", "Configuration streams that wait to be opened now.")
STREAMS_TURNED_AWAY = Counter(
    "moorage_streams_turned_away_total", "Configuration streams that were refused because too many waited already."
)
CERTIFICATE_NOT_AFTER = Gauge(
    "moorage_certificate_not_after_seconds", "When the service's own certificate ends, Unix time."
)
CERTIFICATE_RELOAD_FAILURES = Counter(
    "moorage_certificate_reload_failures_total", "Times the service's own certificate could not be read anew."
)
REVOCATIONS_AGE = Gauge(
    "moorage_revocations_age_seconds",
    "How long ago the Connector last said what is revoked; +Inf where it never did.",
)
RUNTIMES = Gauge("moorage_runtimes", "Runtimes of the plane, by state, as of the last look at them.", ["state"])
REPORTS = Counter(
    "moorage_configuration_reports_total",
    "Reports of agents that were taken, by what they say of a revision.",
    ["state"],
)
READY = Gauge("moorage_ready", "1 while the service answers, 0 while it cannot.", ["service"])


def logger(name: str) -> FilteringBoundLogger:
    """The logger of one part; its lines carry `part=name`."""
    bound: FilteringBoundLogger = structlog.get_logger(part=name)
    return bound


def configure_logging(service: str, level: str = "info") -> None:
    """Have everything in this process log one JSON object a line to stderr, from `level` up, with `service` set.

    Raises `ValueError` for a level that does not exist.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"no such log level: {level}; use debug, info, warning or error")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            lambda _, __, fields: {"service": service, **fields},
            _redacted,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Lossy(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=max(threshold, logging.WARNING), force=True)


def serve_metrics(address: str) -> None:
    """Serve the metrics over plain HTTP at `host:port`, for Prometheus to scrape."""
    host, _, port = address.rpartition(":")
    start_http_server(int(port), host)


class _ToStructlog(logging.Handler):
    """Gives what libraries log the same shape as our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log = logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)


class _Lossy:
    """A file that nobody fails by: where the disk is full, or the reader gone, lines are lost and work goes on."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the latter once it is closed
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


def _redacted(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _SECRET_FIELDS & fields.keys():
        fields[name] = "[redacted]"
    return fields

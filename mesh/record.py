"""The record of one call: its log line and its metrics."""

import logging
import time
from types import TracebackType
from typing import Self

from mesh import call, telemetry
from mesh.errors import Refusal


class Record:
    """The record of one method: its metrics and its logger, looked up once and not on every call."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.log = telemetry.logger("call").bind(method=method)
        self.ok = telemetry.CALLS.labels(method, "OK", "")
        self.seconds = telemetry.CALL_SECONDS.labels(method)
        self.streams = telemetry.STREAMS.labels(method)

    def call(self) -> "Entry":
        """The record of a unary call, to be used in a `with`."""
        return Entry(self, streaming=False)

    def stream(self) -> "Entry":
        """The record of a stream, to be used in a `with`."""
        return Entry(self, streaming=True)


class Entry:
    """One call that is under way; leaving the `with` ends it."""

    __slots__ = ("_failed", "_record", "_start", "_streaming")

    def __init__(self, record: Record, *, streaming: bool) -> None:
        self._record = record
        self._streaming = streaming
        self._start = time.perf_counter()
        self._failed = False

    def failed(self, refusal: Refusal | None) -> Refusal | None:
        """Note why the call fails, and pass it on; None where the handler answered by itself."""
        self._failed = True
        if refusal is None:
            telemetry.CALLS.labels(self._record.method, "ABORTED_BY_HANDLER", "").inc()
            return None
        telemetry.CALLS.labels(self._record.method, refusal.code.name, refusal.name).inc()
        self._record.log.info(
            "refused",
            code=refusal.code.name,
            reason=refusal.name,
            message=refusal.message,
            request_id=call.current_request_id(),
            caller=call.caller_name(),
            address=call.current_address(),
            ms=self._ms(),
        )
        return refusal

    def __enter__(self) -> Self:
        if self._streaming:
            self._record.streams.inc()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._streaming:
            self._record.streams.dec()
        else:
            self._record.seconds.observe(time.perf_counter() - self._start)
        if self._failed:
            return
        if kind is not None:
            telemetry.CALLS.labels(self._record.method, "CANCELLED", "").inc()
        else:
            self._record.ok.inc()
        # Whoever waited for an answer and went without one may ask why: the operator must find the call.
        level = logging.INFO if kind is not None and not self._streaming else logging.DEBUG
        if self._record.log.is_enabled_for(level):
            self._record.log.log(
                level,
                "cancelled" if kind else "ok",
                request_id=call.current_request_id(),
                caller=call.caller_name(),
                ms=self._ms(),
            )

    def _ms(self) -> float:
        return round((time.perf_counter() - self._start) * 1000, 2)

"""The call pipeline: what happens around every call, for every service, in this order.

1. errors      whatever goes wrong further in leaves as a status of the catalogue, and nothing else does
2. record      request id, structured log, metrics
3. identity    the caller's SPIFFE ID from its client certificate, which must not have been revoked
4. access      the contract's rule for the method (`moorage.access.v1`), before and after the request is read
5. validation  the request's bytes, size, and the contract's rules for its fields (protovalidate)

The handler comes last. A stream ends by itself when its caller's certificate does or it has reached its age, at once
when that certificate is revoked, and when the server drains.
"""

import asyncio
import inspect
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from moorage.errors.v1.errors_pb2 import Reason
from protovalidate import Validator

from certs.clock import Clock
from mesh import call, telemetry
from mesh.access import AccessRules, check_request
from mesh.call import Caller
from mesh.errors import Problem, Refusal, Violation
from mesh.peer import Peers
from mesh.record import Record
from mesh.revocations import Revocations
from mesh.streams import Stream, Streams, draining
from mesh.texts import nul_violations
from mesh.uuids import lower_uuids

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""The largest request that is taken; what is larger, up to the transport's own limit, is refused with a reason."""

WHOLLY_CHECKED_BYTES = 16 * 1024
"""The largest request that is told every field that breaks a rule; a larger one is told the first.

A request can break nearly as many rules as it has bytes, and to tell of each takes its time on the event loop.
"""

_DEPENDENCY_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEALTH = "/grpc.health.v1.Health/"
_log = telemetry.logger("call")

Handler = Any  # grpc's types know the handlers of synchronous servers only
Context = grpc.aio.ServicerContext[Any, Any]


class CallObserver:
    """Is told who calls; this one takes no note. On the event loop and within each call, so it has no time to spend."""

    def called(self, caller: Caller) -> None:
        """A party called, whatever will be answered."""

    def stream_began(self, caller: Caller) -> None:
        """A stream of a party was let in."""

    def stream_ended(self, caller: Caller) -> None:
        """It ended."""


class Pipeline(grpc.aio.ServerInterceptor):
    """One server's pipeline. `drain` ends its streams and turns new calls away.

    `stream_age` is for how many seconds a stream lasts, more or less a tenth; None for as long as it may.
    """

    def __init__(
        self,
        rules: AccessRules,
        peers: Peers,
        clock: Clock,
        observer: CallObserver,
        revocations: Revocations | None = None,
        stream_age: float | None = None,
    ) -> None:
        self._rules = rules
        self._peers = peers
        self._observer = observer
        self._revocations = revocations
        self._validator = Validator()
        self._unknown_record = Record("unknown")
        self._wrapped: dict[str, Handler] = {}
        self._streams = Streams(clock, stream_age)
        self._draining = False
        if revocations is not None:
            revocations.on_change(lambda: self._streams.look_again(self._check))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Give grpc the method's handler with the pipeline around it; each method is wrapped once."""
        method = details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(details)
            if handler is None:
                return grpc.unary_unary_rpc_method_handler(self._unknown(method))
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def drain(self) -> None:
        """Turn new calls away; end every open stream within `DRAIN_SPREAD`, so that its reader resumes elsewhere."""
        self._draining = True
        self._streams.drain()

    async def drained(self, within: float) -> None:
        """Wait until every stream has ended, `within` seconds at most."""
        await self._streams.drained(within)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream_of_requests(method, handler), handler.request_deserializer, handler.response_serializer
            )
        if handler.request_streaming:
            raise ValueError(f"{method} streams requests to one response, which the pipeline does not know")
        if not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler))
        if inspect.iscoroutinefunction(handler.unary_stream):
            return grpc.unary_stream_rpc_method_handler(
                self._self_writing_stream(method, handler), response_serializer=handler.response_serializer
            )
        return grpc.unary_stream_rpc_method_handler(self._stream(method, handler))

    def _unknown(self, method: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        record = self._unknown_record

        async def run(content: bytes, context: Context) -> bytes:
            with record.call() as entry:
                try:
                    call.enter(None, _RequestId(context), context.peer)
                    caller = self._peers.caller(context)
                    if caller is None:
                        raise Refusal(Reason.REASON_CERTIFICATE_REQUIRED, "the call carries no client certificate")
                    self._check(method, caller)
                    raise Refusal(
                        Reason.REASON_METHOD_UNKNOWN, f"there is no method {method}", metadata={"method": method}
                    )
                except Refusal as refusal:
                    await _abort(context, entry.failed(refusal))
                    raise

        return run

    def _unary(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[bytes]]:
        record = Record(method)

        async def run(content: bytes, context: Context) -> bytes:
            with record.call() as entry:
                try:
                    request = self._admit(method, handler, content, context)
                    response = await handler.unary_unary(request, context)
                    payload: bytes = handler.response_serializer(response)
                    return payload
                except Exception as error:
                    await _abort(context, entry.failed(_refusal(error)))
                    raise

        return run

    def _stream(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[None]]:
        async def run(content: bytes, context: Context, stream: Stream) -> None:
            request = self._admit(method, handler, content, context)
            caller = call.current_caller()
            await _begin(stream, caller, context)
            messages: AsyncIterator[Any] = handler.unary_stream(request, context)
            self._observer.stream_began(caller)
            try:
                async for message in messages:
                    payload = message if isinstance(message, bytes) else handler.response_serializer(message)
                    stream.writing()
                    await context.write(payload)
                    stream.written()
            finally:
                self._observer.stream_ended(caller)
                await messages.aclose()  # type: ignore[attr-defined]  # async generators have it

        return self._streaming(method, run)

    def _self_writing_stream(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[None]]:
        async def run(content: bytes, context: Context, stream: Stream) -> None:
            request = self._admit(method, handler, content, context)
            await _begin(stream, call.current_caller(), context)
            await handler.unary_stream(request, context)

        return self._streaming(method, run)

    def _stream_of_requests(self, method: str, handler: Handler) -> Callable[[Any, Context], Awaitable[None]]:
        async def run(requests: Any, context: Context, stream: Stream) -> None:
            self._enter(method, context)
            await _begin(stream, call.current_caller(), context)
            async for response in handler.stream_stream(requests, context):
                await context.write(response)

        return self._streaming(method, run)

    def _streaming(
        self, method: str, run: Callable[[Any, Context, Stream], Awaitable[None]]
    ) -> Callable[[Any, Context], Awaitable[None]]:
        record = Record(method)

        async def guarded(request: Any, context: Context) -> None:
            stream: Stream | None = None
            with record.stream() as entry:
                try:
                    async with asyncio.timeout(None) as limit:
                        with self._streams.open(method, limit) as stream:
                            await run(request, context, stream)
                except Exception as error:
                    ended = stream.why_ended(error) if stream else None
                    await _abort(context, entry.failed(ended or _refusal(error)))

        return guarded

    def _enter(self, method: str, context: Context) -> tuple[Caller | None, tuple[Any, ...]]:
        request_id = _RequestId(context)
        call.enter(None, request_id, context.peer)
        if self._draining:
            raise draining()
        caller = self._peers.caller(context)
        call.enter(caller, request_id, context.peer)
        self._check(method, caller)
        if caller is not None:
            self._observer.called(caller)
        return caller, self._rules.grants(method, caller)

    def _check(self, method: str, caller: Caller | None) -> None:
        """Raise `Refusal` where the certificate of `caller` no longer counts, or where nobody can tell any more."""
        if self._revocations is None or caller is None:
            return
        self._revocations.check(caller)
        if not method.startswith(_HEALTH):  # which is how others learn that nobody can
            self._revocations.check_age()

    def _admit(self, method: str, handler: Handler, content: bytes, context: Context) -> Message:
        caller, grants = self._enter(method, context)
        if len(content) > MAX_REQUEST_BYTES:
            raise Refusal(
                Reason.REASON_MESSAGE_TOO_LARGE,
                f"the request has {len(content)} bytes; {MAX_REQUEST_BYTES} is the most that is taken",
                metadata={"limit_bytes": str(MAX_REQUEST_BYTES)},
            )
        try:
            request: Message = handler.request_deserializer(content)
        except DecodeError as error:
            raise Refusal(Reason.REASON_MESSAGE_MALFORMED, f"the request is not what {method} takes") from error
        lower_uuids(request)
        check_request(method, grants, caller, request)
        violations = self._validator.collect_violations(request, fail_fast=len(content) > WHOLLY_CHECKED_BYTES)
        if violations:
            raise _invalid([Violation(_field_path(each.proto.field), each.proto.message) for each in violations])
        if nul := nul_violations(request, content):
            raise _invalid(nul)
        return request


def _refusal(error: Exception) -> Refusal | None:
    """What the caller may know of an error; None where the call was answered already."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, grpc.aio.AbortError):
        return None
    if isinstance(error, grpc.aio.AioRpcError) and error.code() in _DEPENDENCY_AWAY:
        _log.warning("a service that this call needs is away", problem=Problem.of(error).message)
        return Refusal(
            Reason.REASON_DEPENDENCY_UNAVAILABLE,
            "another service of the plane did not answer",
            retry_after=timedelta(seconds=1),
        )
    _log.error("fault", request_id=call.current_request_id(), exc_info=error)
    return Refusal(Reason.REASON_INTERNAL, "a fault of the service; its log has more")


async def _begin(stream: Stream, caller: Caller | None, context: Context) -> None:
    """Let a stream begin, by the headers of its answer, before the first message: that may be long on its way."""
    stream.admitted(caller)
    await context.send_initial_metadata(())
    stream.begun()


async def _abort(context: Context, refusal: Refusal | None) -> None:
    if refusal is None:
        return
    status = refusal.to_status(call.current_request_id())
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(refusal.code, refusal.message, details)


def _invalid(violations: list[Violation]) -> Refusal:
    first, more = violations[0], len(violations) - 1
    rest = f", and {more} more" if more else ""
    message = f"{first.field or 'the request'}: {first.description}{rest}"
    return Refusal(Reason.REASON_FIELD_INVALID, message, violations=violations)


def _field_path(path: Any) -> str:
    if path is None:
        return ""
    names = []
    for element in path.elements:
        subscript = element.subscript
        names.append(f"{element.field_name}[{subscript.value}]" if subscript is not None else element.field_name)
    return ".".join(names)


class _RequestId:
    """The id of a call, looked up when it is first asked for: most calls that go well are never named by it."""

    __slots__ = ("_context", "_id")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._id = ""

    def __call__(self) -> str:
        if not self._id:
            self._id = _sent_request_id(self._context) or uuid.uuid4().hex
        return self._id


def _sent_request_id(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return None

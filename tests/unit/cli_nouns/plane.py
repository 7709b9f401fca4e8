"""A plane that a test scripts: it answers calls over a Unix socket as the test says, and keeps what it was asked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from certs.identity import Identity
from cli.connection import Connection, Target
from cli.output import Output
from mesh.errors import Refusal

Answer = Callable[[Any], Message]
Turn = Sequence[Message | Refusal | None]
"""What one opening of a stream sends: messages, then a refusal to end with, or None to stay open."""


class ScriptedPlane:
    """`answers` by method name; any other method is never answered. `turns` of streams: one an opening."""

    def __init__(self, folder: Path, admin: Identity) -> None:
        self.answers: dict[str, Answer] = {}
        self.turns: list[Turn] = []
        self.requests: list[tuple[str, Any]] = []
        self.admin = admin
        self._address = f"unix:{folder / 'plane.sock'}"

    def asked(self, method: str) -> list[Any]:
        """The requests of one method, in order."""
        return [request for name, request in self.requests if name == method]

    def connect(self, target: Target, output: Output) -> Connection:
        """A connection to this plane; as the administrator where the command line names nobody."""
        addresses = dict.fromkeys(("director", "connector", "provisioner"), "plane:1")
        target = Target(target.home, target.identity or self.admin.folder, addresses, target.timeout)
        return Connection(target, output, lambda _: grpc.aio.insecure_channel(self._address))

    @contextmanager
    def served(self) -> Iterator[None]:
        """Answer calls, on a thread with a loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(self._start(), loop).result(10)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _start(self) -> grpc.aio.Server:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([_Methods(self)])
        server.add_insecure_port(self._address)
        await server.start()
        return server


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, plane: ScriptedPlane) -> None:
        self._plane = plane

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        method = str(details.method).rpartition("/")[2]
        descriptor = _descriptor(str(details.method))
        request_class: type[Message] = GetMessageClass(descriptor.input_type)
        if descriptor.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                partial(self._stream, method),
                request_deserializer=request_class.FromString,
                response_serializer=_serialized,
            )

        async def answer(request: Message, context: "grpc.aio.ServicerContext[Any, Any]") -> Message:
            self._plane.requests.append((method, request))
            if method not in self._plane.answers:
                await asyncio.Event().wait()
            try:
                return self._plane.answers[method](request)
            except Refusal as refusal:
                await _refuse(context, refusal)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request_class.FromString, response_serializer=_serialized
        )

    async def _stream(
        self, method: str, request: Message, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Message]:
        self._plane.requests.append((method, request))
        for each in self._plane.turns.pop(0):
            if each is None:
                await asyncio.Event().wait()
            elif isinstance(each, Refusal):
                await _refuse(context, each)
            else:
                yield each


async def _refuse(context: "grpc.aio.ServicerContext[Any, Any]", refusal: Refusal) -> NoReturn:
    status: Status = refusal.to_status()
    await context.abort(
        refusal.code, refusal.message, trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),)
    )


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _descriptor(method: str) -> MethodDescriptor:
    from google.longrunning import operations_pb2  # noqa: F401 - so that the pool knows the services
    from moorage.connector.v1 import connector_pb2  # noqa: F401
    from moorage.director.v1 import director_pb2  # noqa: F401
    from moorage.provisioner.v1 import provisioner_pb2  # noqa: F401

    service, _, name = method.lstrip("/").rpartition("/")
    return Default().FindServiceByName(service).FindMethodByName(name)

"""The floor: a bare grpc.aio server over mTLS with nothing around it, in a process of its own.

`python -m bench.bare IDENTITY_FOLDER` prints its port, then serves until its standard input ends. It answers
`GetApplication`, and passes on what `ReportConfiguration` says to every `WatchConfiguration` stream.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import mesh  # noqa: F401 - before grpc, for the same TLS as the plane has

import grpc  # isort: skip
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1.application_pb2 import (
    Application,
    ApplicationState,
    GetApplicationRequest,
    GetApplicationResponse,
)
from moorage.director.v1.configuration_pb2 import (
    ReportConfigurationRequest,
    ReportConfigurationResponse,
    WatchConfigurationRequest,
    WatchConfigurationResponse,
)

from certs.identity import Identity

_SERVICE = "bench.Bare"
_THEN = Timestamp(seconds=1_700_000_000)


class Bare:
    """The handlers."""

    def __init__(self) -> None:
        self._streams: set[asyncio.Queue[int]] = set()

    async def get(self, request: GetApplicationRequest, _: Any) -> GetApplicationResponse:
        """Answer with as much as the Director does."""
        application = Application(
            application_id=request.application_id,
            name="benchmark",
            description="An application to read.",
            labels={"tier": "t1"},
            create_time=_THEN,
            update_time=_THEN,
            revision=1,
            etag='"1"',
            state=ApplicationState.APPLICATION_STATE_INITIAL,
            state_time=_THEN,
            state_reason="it is registered",
        )
        return GetApplicationResponse(application=application)

    async def report(self, request: ReportConfigurationRequest, _: Any) -> ReportConfigurationResponse:
        """Hand the revision to every stream."""
        for each in self._streams:
            each.put_nowait(request.revision)
        return ReportConfigurationResponse(accepted=True)

    async def watch(self, _: WatchConfigurationRequest, context: Any) -> None:
        """Pass on every revision."""
        queue: asyncio.Queue[int] = asyncio.Queue()
        self._streams.add(queue)
        await context.write(WatchConfigurationResponse(revision=0))
        try:
            while True:
                await context.write(WatchConfigurationResponse(revision=await queue.get()))
        finally:
            self._streams.discard(queue)


class BareStub:
    """A client of it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.get: Any = channel.unary_unary(
            f"/{_SERVICE}/Get", GetApplicationRequest.SerializeToString, GetApplicationResponse.FromString
        )
        self.report: Any = channel.unary_unary(
            f"/{_SERVICE}/Report", ReportConfigurationRequest.SerializeToString, ReportConfigurationResponse.FromString
        )
        self.watch: Any = channel.unary_stream(
            f"/{_SERVICE}/Watch", WatchConfigurationRequest.SerializeToString, WatchConfigurationResponse.FromString
        )


async def serve(folder: Path) -> None:
    """Serve with the identity in `folder` until standard input ends."""
    identity = Identity(folder).load()
    bare: Any = Bare()
    handlers: Any = {
        "Get": grpc.unary_unary_rpc_method_handler(
            bare.get, GetApplicationRequest.FromString, GetApplicationResponse.SerializeToString
        ),
        "Report": grpc.unary_unary_rpc_method_handler(
            bare.report, ReportConfigurationRequest.FromString, ReportConfigurationResponse.SerializeToString
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            bare.watch, WatchConfigurationRequest.FromString, WatchConfigurationResponse.SerializeToString
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    credentials = grpc.ssl_server_credentials(
        [(identity.key_pem, identity.chain_pem)], root_certificates=identity.bundle_pem, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))

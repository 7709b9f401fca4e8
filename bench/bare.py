"""The floor: a bare grpc.aio server over mTLS with nothing around it, in a process of its own.

`python -m bench.bare IDENTITY_FOLDER` prints its port, then serves until its standard input ends. It answers
`GetApplication`, and passes on what `ReportConfiguration` says to every `WatchConfiguration` stream, together with as
many bytes as it is told. Of what a server of Moorage tells the transport it is told the same.
"""

import argparse
import asyncio
import sys
import time
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
from mesh.server import OPTIONS

_SERVICE = "bench.Bare"
_THEN = Timestamp(seconds=1_700_000_000)


class Bare:
    """The handlers. Each message of a stream has `payload` bytes of content, and the time at which it was asked for."""

    def __init__(self, payload: int = 0) -> None:
        self._streams: dict[asyncio.Queue[WatchConfigurationResponse], str] = {}
        self._payload = "x" * payload

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
        """Hand the revision to every stream; where Runtimes are named, with commas between, to theirs alone."""
        wanted = set(request.runtime_id.split(",")) if request.runtime_id else None
        message = WatchConfigurationResponse(
            plane_id=str(time.time_ns()), revision=request.revision, content_sha256=self._payload
        )
        for each, runtime_id in self._streams.items():
            if wanted is None or runtime_id in wanted:
                each.put_nowait(message)
        return ReportConfigurationResponse(accepted=True)

    async def watch(self, request: WatchConfigurationRequest, context: Any) -> None:
        """Pass on every revision."""
        queue: asyncio.Queue[WatchConfigurationResponse] = asyncio.Queue()
        self._streams[queue] = request.runtime_id
        await context.write(WatchConfigurationResponse(revision=0))
        try:
            while True:
                await context.write(await queue.get())
        finally:
            del self._streams[queue]


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


async def serve(folder: Path, listen: str, payload: int) -> None:
    """Serve with the identity in `folder` until standard input ends."""
    identity = Identity(folder).load()
    bare: Any = Bare(payload)
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
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    credentials = grpc.ssl_server_credentials(
        [(identity.key_pem, identity.chain_pem)], root_certificates=identity.bundle_pem, require_client_auth=True
    )
    port = server.add_secure_port(listen, credentials)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(prog="bench.bare")
    parser.add_argument("identity", type=Path)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--payload", type=int, default=0)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.identity, chosen.listen, chosen.payload))


if __name__ == "__main__":
    main()

"""The one channel builder: mTLS, keepalive, limits, and a channel that follows its identity through renewals."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from certs.identity import Identity, LoadedIdentity
from mesh.address import target_of
from mesh.limits import MAX_TRANSPORT_BYTES

Stub = TypeVar("Stub")

CLOSE_GRACE = 30.0
"""Seconds that calls on a replaced channel have to end."""

OPTIONS: tuple[tuple[str, int | str], ...] = (
    # http_proxy and its like would catch even calls to localhost.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_TRANSPORT_BYTES),
    ("grpc.max_send_message_length", MAX_TRANSPORT_BYTES),
    # More often than the server asks, who is put off by it (`mesh.server`): so a server that is gone is found sooner.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # How long, at least, one attempt to connect may take; a refused one fails at once all the same. An attempt that is
    # given up in the middle of its handshake is begun anew, and a host under load then does nothing but shake hands.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_GO_ROUND = ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]}))
"""A connection to each instance; each call goes to the next one that is there."""


def open_channel(address: str, identity: LoadedIdentity) -> grpc.aio.Channel:
    """A channel to an address (`mesh.address`) that shows `identity` and trusts the roots in its bundle, and no others.

    Raises `AddressRefused`.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=identity.bundle_pem, private_key=identity.key_pem, certificate_chain=identity.chain_pem
    )
    return _open(address, credentials)


def open_pinned_channel(address: str, roots_pem: bytes) -> grpc.aio.Channel:
    """A channel that shows no identity and trusts only `roots_pem`: for enrolment. Raises `AddressRefused`."""
    return _open(address, grpc.ssl_channel_credentials(roots_pem))


class LiveChannel:
    """A channel that is replaced once its identity on disk is: the next call uses the new one.

    Calls under way on the old channel end on it; it is closed `CLOSE_GRACE` seconds later at most. Raises
    `AddressRefused` for an `address` that is none (`mesh.address`).
    """

    def __init__(self, address: str, identity: Identity) -> None:
        target_of(address)
        self.address = address
        self.identity = identity
        self._generation = ""
        self._channel: grpc.aio.Channel | None = None
        self._stubs: dict[Callable[..., Any], Any] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel for the identity as it is now; raises `IdentityRefused` where there is none to use."""
        generation = self.identity.generation()
        if self._channel is None or generation != self._generation:
            fresh = open_channel(self.address, self.identity.load())
            self._retire(self._channel)
            self._channel, self._generation = fresh, generation
            self._stubs.clear()
        return self._channel

    def stub(self, make: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """The stub that `make` (a generated stub class) makes of the current channel."""
        channel = self.channel
        if make not in self._stubs:
            self._stubs[make] = make(channel)
        stub: Stub = self._stubs[make]
        return stub

    async def close(self) -> None:
        """Close the channel and those it replaced, at once."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _retire(self, channel: grpc.aio.Channel | None) -> None:
        if channel is not None:
            task = asyncio.get_running_loop().create_task(channel.close(CLOSE_GRACE))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _open(address: str, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    target, options = target_of(address), OPTIONS
    if target.several:
        options = (*options, _GO_ROUND)
    if target.authority is not None:
        # The host that certificates are looked at for. Without it gRPC takes the whole list for a host's name.
        options = (*options, ("grpc.default_authority", target.authority))
    return grpc.aio.secure_channel(target.uri, credentials, options=options)

"""HTTP to where others say: each connection goes to an address that was resolved once and checked before.

Importing this takes a while, for it loads httpx: do so when it is first needed, off the event loop.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore
import httpx

from director.networks import NetworkRule

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""`await resolve(host)`: its IP addresses, best first; raises `OSError`."""


class AddressDenied(Exception):
    """A name has an address that must not be connected to. The message names the address."""


async def resolve(host: str) -> Sequence[str]:
    """Ask the operating system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedTransport(httpx.AsyncHTTPTransport):
    """Connects to nothing but what `rule` admits; its requests raise `AddressDenied`, besides what httpx raises.

    Neither proxies nor authorities are taken from the environment.
    """

    def __init__(
        self,
        rule: NetworkRule,
        ssl_context: ssl.SSLContext,
        limits: httpx.Limits,
        resolve: Resolve = resolve,
    ) -> None:
        super().__init__(trust_env=False, verify=ssl_context)
        # httpx takes no network backend, so the pool that it has just made is replaced by one with ours.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_CheckedBackend(rule, resolve),
        )


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were checked, so that a name cannot lead elsewhere meanwhile (DNS rebinding).

    The host name of the request, which TLS checks the certificate for, is not touched by it.
    """

    def __init__(self, rule: NetworkRule, resolve: Resolve) -> None:
        self._rule = rule
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if port > _LAST_PORT:
            raise httpcore.ConnectError(f"there is no port {port}")
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        addresses = await self._checked(host, timeout)
        for tried, address in enumerate(addresses):
            # One that does not answer leaves the others their share of the time.
            share = None if end is None else max(end - loop.time(), 0) / (len(addresses) - tried)
            try:
                return await self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _checked(self, host: str, timeout: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolve(host)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:  # the latter for what can be no name
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses:
            if not self._rule.admits(address):
                raise AddressDenied(address)
        return addresses


_LAST_PORT = 65535

"""One GET of one document, from a URL that others chose."""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from director.networks import NetworkRule
from director.specifications.inspector import MAX_INSPECTED_BYTES

if TYPE_CHECKING:
    import httpx

    from director.outbound import Resolve

CONNECT_TIMEOUT = 5.0
"""Seconds to reach the other side, at each redirect anew."""

DEADLINE = 30.0
"""Seconds until the document is here, in all."""

MOST_REDIRECTS = 5
"""How many are followed."""

_LONGEST_HEADER = 500
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_NO_GZIP = "the answer is not the gzip that it says it is"
_LATER = frozenset({404, 408, 425, 429})  # may be there soon, as when a service is still being rolled out


@dataclass(frozen=True)
class Fetched:
    """A document that came."""

    content: bytes
    """It, without a content encoding."""

    media_type: str
    """What the other side calls it, in lower case and without parameters; empty where it does not say."""

    etag: str
    """Its ETag as it was sent; empty where there is none."""

    last_modified: str
    """Its Last-Modified as it was sent; empty where there is none."""


class FetchFailed(Exception):
    """A document did not come. The message is fit for whoever asked for it, and holds nothing of what was answered."""

    lasting = False
    """Whether trying again is of no use."""


class UrlRefused(FetchFailed):
    """The URL, or one that it redirects to, is none that is fetched from."""

    lasting = True


class TargetDenied(FetchFailed):
    """The URL leads to a network that the settings do not allow."""

    lasting = True


class DocumentTooLarge(FetchFailed):
    """There is more than is taken."""

    lasting = True


class AnsweredOtherwise(FetchFailed):
    """The other side answered with something else than a document: a status, or too many redirects."""

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


class NotReached(FetchFailed):
    """There was no answer, or no whole one, or none that is HTTP."""


class TimedOut(FetchFailed):
    """There was no document in time."""


Fetch = Callable[[str], Awaitable[Fetched]]
"""`await fetch(url)`; raises `FetchFailed` for what the other side, or the URL, is at fault for, and nothing else."""


class HttpFetch:
    """Fetches over HTTP, only from where `rule` lets it, each redirect held to the same.

    `max_bytes`: of the document, also before its content encoding is undone. Neither credentials, cookies nor proxies
    are used, and nothing of the environment.
    """

    def __init__(
        self,
        rule: NetworkRule,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        deadline: float = DEADLINE,
        max_bytes: int = MAX_INSPECTED_BYTES,
        resolve: "Resolve | None" = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`resolve` and `ssl_context`: the operating system's names and httpx's authorities where they are None."""
        self._rule = rule
        self._connect_timeout = connect_timeout
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._ssl_context = ssl_context
        self._opening = asyncio.Lock()

    async def __call__(self, url: str) -> Fetched:
        """Fetch the document; raises `FetchFailed`."""
        async with self._opening:
            if self._ssl_context is None:
                self._ssl_context = await asyncio.to_thread(_new_ssl_context)
        import httpx

        from director.outbound import AddressDenied

        try:
            async with asyncio.timeout(self._deadline):
                return await self._follow(url, self._ssl_context)
        except (TimeoutError, httpx.TimeoutException):
            raise TimedOut("it timed out") from None
        except AddressDenied:
            raise TargetDenied("the target is in a network that is not allowed") from None
        except (httpx.InvalidURL, UnicodeError):
            raise UrlRefused("it is no URL") from None
        except httpx.HTTPError as error:
            raise NotReached(_why_not_reached(error)) from None

    async def _follow(self, url: str, ssl_context: ssl.SSLContext) -> Fetched:
        import httpx

        target = httpx.URL(url)
        for _ in range(MOST_REDIRECTS + 1):
            _check(target)
            # A client for each, so that no cookie and no connection goes from one to the next.
            async with (
                self._new_client(ssl_context) as client,
                client.stream("GET", target, headers={"accept-encoding": "gzip", "user-agent": "moorage"}) as response,
            ):
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    return await self._take(response)
                target = target.join(location)
        raise AnsweredOtherwise(f"more than {MOST_REDIRECTS} redirects", lasting=True)

    def _new_client(self, ssl_context: ssl.SSLContext) -> "httpx.AsyncClient":
        import httpx

        from director.outbound import CheckedTransport, resolve

        transport = CheckedTransport(self._rule, ssl_context, httpx.Limits(), self._resolve or resolve)
        timeout = httpx.Timeout(self._deadline, connect=self._connect_timeout)
        return httpx.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)

    async def _take(self, response: "httpx.Response") -> Fetched:
        if response.status_code != _OK:
            lasting = response.is_client_error and response.status_code not in _LATER
            raise AnsweredOtherwise(f"HTTP {response.status_code}", lasting=lasting)
        content = await self._read(response)
        return Fetched(
            content=content,
            media_type=_header(response, "content-type").partition(";")[0].strip().lower(),
            etag=_header(response, "etag"),
            last_modified=_header(response, "last-modified"),
        )

    async def _read(self, response: "httpx.Response") -> bytes:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise AnsweredOtherwise("the answer has a content encoding that was not asked for", lasting=True)
        declared = response.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > self._max_bytes:
                raise self._too_large()
        if encoding != "gzip":
            return bytes(body)
        return await asyncio.to_thread(self._gunzip, bytes(body))

    def _gunzip(self, packed: bytes) -> bytes:
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with the header of gzip (RFC 1952)
        try:
            content = decoder.decompress(packed, self._max_bytes + 1)
        except zlib.error:
            raise NotReached(_NO_GZIP) from None
        if len(content) > self._max_bytes:
            raise self._too_large()
        if not decoder.eof or decoder.unused_data:
            raise NotReached(_NO_GZIP)
        return content

    def _too_large(self) -> DocumentTooLarge:
        return DocumentTooLarge(f"it is larger than {self._max_bytes / (1 << 20):g} MiB")


def _new_ssl_context() -> ssl.SSLContext:
    # Imported when first needed, and off the event loop: that takes longer than most of a start.
    import httpx

    import director.outbound  # noqa: F401 - so that it is there for the first request

    return httpx.create_ssl_context(trust_env=False)


def _check(url: "httpx.URL") -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise UrlRefused("the URL is not an absolute http or https URL")
    if url.userinfo:
        raise UrlRefused("the URL has credentials in it")


def _header(response: "httpx.Response", name: str) -> str:
    value: str = response.headers.get(name, "")
    return value if len(value) <= _LONGEST_HEADER else ""


def _why_not_reached(error: "httpx.HTTPError") -> str:
    """In words that tell nothing of the network that the Director is in."""
    import httpx

    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {each.verify_message}"
        if isinstance(each, ssl.SSLError):
            return "it does not speak TLS"
        if isinstance(each, socket.gaierror):
            return "its name has no address"
    if isinstance(error, httpx.ConnectError):
        return "it cannot be reached"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the answer is cut off, or is not HTTP"
    return "the connection broke"

"""One POST of one notice, signed by the Standard Webhooks scheme."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from director.networks import NetworkRule

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 5.0
"""Seconds to reach the Application."""

ANSWER_TIMEOUT = 20.0
"""Seconds until the Application has answered, in all; the scheme recommends 15 to 30."""

_GONE = 410


@dataclass(frozen=True)
class Posted:
    """What came of it. `failure` is empty where it arrived; `gone` where the Application asked for no more."""

    failure: str
    gone: bool = False

    @property
    def arrived(self) -> bool:
        """Whether the Application took it."""
        return not self.failure


Post = Callable[[str, str, str, str, datetime], Awaitable[Posted]]
"""`await post(notice_id, url, body, secret, at)`; never raises for what the other side does."""


class HttpPost:
    """Posts over HTTP. Redirects are not followed, and of the answer only the status is read.

    Nothing is sent to an address in one of the `denied_networks` (CIDR), whatever name leads there. Raises
    `ValueError` for what is no network.
    """

    def __init__(
        self,
        denied_networks: Collection[str] = (),
        connect_timeout: float = CONNECT_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self._rule = NetworkRule.all_but(denied_networks)
        self._connect_timeout = connect_timeout
        self._answer_timeout = answer_timeout
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def __call__(self, notice_id: str, url: str, body: str, secret: str, at: datetime) -> Posted:
        """Post `body`; the message id is the notice's at every attempt, so that a receiver can tell repeats."""
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._new_client)
        import httpx
        from standardwebhooks import Webhook

        from director.outbound import AddressDenied

        headers = {
            "content-type": "application/json",
            "user-agent": "moorage",
            "webhook-id": notice_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(notice_id, at, body),
        }
        try:
            async with (
                asyncio.timeout(self._answer_timeout),
                self._client.stream("POST", url, content=body.encode(), headers=headers) as response,
            ):
                status = response.status_code
        except TimeoutError:
            return Posted(failure=f"no answer within {self._answer_timeout:g} s")
        except AddressDenied as denied:
            return Posted(failure=f"the URL leads to {denied}, where the operator lets no notice go")
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return Posted(failure=f"{type(error).__name__}: {error}"[:500])
        if response.is_success:
            return Posted(failure="")
        return Posted(failure=f"answered {status}", gone=status == _GONE)

    def _new_client(self) -> "httpx.AsyncClient":
        # Imported when first needed, and off the event loop: these, and loading the host's trusted authorities, take
        # longer than all the rest of a start.
        import httpx
        import standardwebhooks  # noqa: F401 - so that it is there when the first notice is signed

        from director.outbound import CheckedTransport

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        return httpx.AsyncClient(
            transport=CheckedTransport(self._rule, httpx.create_ssl_context(trust_env=False), limits),
            timeout=httpx.Timeout(self._answer_timeout, connect=self._connect_timeout, pool=None),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

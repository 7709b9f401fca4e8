"""One POST of one notice, signed by the Standard Webhooks scheme."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 5.0
"""Seconds to reach the Application."""

ANSWER_TIMEOUT = 15.0
"""Seconds that it may take over each part of its answer, as the scheme recommends."""

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
    """Posts over HTTP. Redirects are not followed, and of the answer only the status is read."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, notice_id: str, url: str, body: str, secret: str, at: datetime) -> Posted:
        """Post `body`; the message id is the notice's at every attempt, so that a receiver can tell repeats."""
        # Imported when first needed: both take longer than all the rest of a start.
        import httpx
        from standardwebhooks import Webhook

        headers = {
            "content-type": "application/json",
            "webhook-id": notice_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(notice_id, at, body),
        }
        if self._client is None:
            timeout = httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT)
            self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)
        try:
            async with self._client.stream("POST", url, content=body.encode(), headers=headers) as response:
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return Posted(failure=f"{type(error).__name__}: {error}"[:500])
        if response.is_success:
            return Posted(failure="")
        return Posted(failure=f"answered {status}", gone=status == _GONE)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

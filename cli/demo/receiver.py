"""The Application's webhook: a real HTTP listener that takes notices with a valid signature (Standard Webhooks)."""

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cli.demo.report import StepFailed

_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Notice:
    """One notice whose signature was valid."""

    id: str
    type: str
    body: Any
    """The JSON document that was posted."""


class WebhookReceiver:
    """Listens on loopback from `open` to `close`; notices are waited for on the loop that opened it."""

    def __init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        """What the Director is to sign with."""
        self.refused = 0
        """Requests whose signature was not valid."""
        self._notices: list[Notice] = []
        self._arrived = asyncio.Condition()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where to post notices."""
        assert self._server is not None  # noqa: S101 - open comes first
        return f"http://127.0.0.1:{self._server.server_port}/moorage"

    def open(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()

        def accept(notice: Notice | None) -> None:
            asyncio.run_coroutine_threadsafe(self._take(notice), loop)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _request_type(Webhook(self.secret), accept))
        self._server.daemon_threads = True
        serve = partial(self._server.serve_forever, poll_interval=0.05)
        threading.Thread(target=serve, name="webhook", daemon=True).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            self._server = None

    async def wait_for(self, what: str, fits: Callable[[Notice], bool], *, deadline: float) -> Notice:
        """The first notice that `fits`, of those that came and those to come.

        Raises `StepFailed`, naming `what`, where there is none within `deadline` seconds.
        """
        try:
            async with asyncio.timeout(deadline), self._arrived:
                while True:
                    for notice in self._notices:
                        if fits(notice):
                            return notice
                    await self._arrived.wait()
        except TimeoutError as error:
            came = ", ".join(notice.type for notice in self._notices) or "nothing"
            raise StepFailed(f"no {what} within {deadline:g} s; {came} came, {self.refused} were refused") from error

    async def _take(self, notice: Notice | None) -> None:
        async with self._arrived:
            if notice is None:
                self.refused += 1
            elif all(notice.id != earlier.id for earlier in self._notices):  # a notice may come twice
                self._notices.append(notice)
                self._arrived.notify_all()


def _request_type(webhook: Webhook, accept: Callable[[Notice | None], None]) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            length = min(length, _MOST_BYTES)
            body = self.rfile.read(length)
            if len(body) < length:
                return  # whoever sent it was killed in the middle, and sends it again
            try:
                webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
                document = json.loads(body)
                notice = Notice(self.headers["webhook-id"], str(document["type"]), document)
            except (WebhookVerificationError, ValueError, KeyError, TypeError):
                accept(None)
                self.send_response(400)
            else:
                accept(notice)
                self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return  # the demo shows steps, not requests

    return Request

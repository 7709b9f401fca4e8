"""A real HTTP receiver of notices, that checks nothing and keeps everything."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """By the monotonic clock, in seconds."""


class Receiver:
    """Answers with the status that `statuses` gives for the path, and else 204. `held` paths are not answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: dict[str, int] = {}
        self.held: set[str] = set()
        self.trickled: set[str] = set()
        self.received: list[Received] = []
        self.free = threading.Event()


@contextmanager
def receiving() -> Iterator[Receiver]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.receiver = Receiver(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.receiver  # type: ignore[attr-defined]
    finally:
        server.receiver.free.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        receiver.received.append(Received(self.path, headers, body, time.monotonic()))
        if self.path in receiver.held:
            receiver.free.wait(30)
        if self.path in receiver.trickled:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not receiver.free.wait(0.05):
                self.wfile.write(b"x-more: 1\r\n")
        self.send_response(receiver.statuses.get(self.path, 204))
        self.send_header("content-length", "0")
        if receiver.statuses.get(self.path, 0) // 100 == 3:
            self.send_header("location", f"{receiver.url}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

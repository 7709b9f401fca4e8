"""The agent's folder on the host, which belongs to one agent at a time.

agent.lock        held while an agent runs
identity/         tls.crt, tls.key, ca.crt
addresses.json    where the plane said that its services are
configuration/    see `agent.cache`
credentials/      see `agent.credentials`
status.json       see `agent.status`
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf import json_format
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from certs import files
from mesh.exits import Exit, Stopped


class Home:
    """The paths in `folder`, and the plane's addresses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = folder / "identity"
        self.configuration = folder / "configuration"
        self.credentials = folder / "credentials"
        self.status = folder / "status.json"
        self._addresses = folder / "addresses.json"
        self._lock = folder / "agent.lock"

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Make the folder if need be, and keep every other agent out of it.

        Raises `Stopped`: HOME_NOT_WRITABLE, or PLANE_RUNS where another agent is in it.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE)
        except OSError as error:
            raise Stopped(
                Exit.HOME_NOT_WRITABLE,
                f"{self.folder} is not writable ({error.strerror}): mend its owner or mode, or choose another `home`",
            ) from error
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def addresses(self) -> PlaneAddresses:
        """What was saved last; empty where nothing readable was."""
        try:
            return json_format.Parse(self._addresses.read_text("utf-8"), PlaneAddresses(), ignore_unknown_fields=True)
        except (OSError, ValueError, json_format.ParseError):
            return PlaneAddresses()

    def save_addresses(self, addresses: PlaneAddresses) -> None:
        """Keep `addresses` for the next start; raises `OSError`."""
        files.replace(self._addresses, f"{json_format.MessageToJson(addresses)}\n".encode(), files.PUBLIC)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise Stopped(
                Exit.PLANE_RUNS,
                f"an agent (process {other or 'unknown'}) runs in {self.folder}: stop it, or choose another `home`",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

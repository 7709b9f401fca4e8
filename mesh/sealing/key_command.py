"""The key-encryption key behind an operator's program: a key management service, a hardware module, anything.

The program is run, without a shell, once for each data key that is wrapped or unwrapped, with one word more:

- `wrap`: it reads the data key, in base64, as one line, and writes two: what it calls the key-encryption key, and the
  wrapped data key in base64.
- `unwrap`: it reads those two lines, and writes the data key in base64.

It ends with status 0 if that is done. What it says on standard error is told when it fails; nothing secret belongs
there. No key is ever an argument or in the environment.
"""

import base64
import binascii
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Sequence

from mesh.sealing.key_provider import WrappedKey
from mesh.sealing.refused import SealingReason, SealingRefused

DEADLINE = 10.0
"""Seconds that the program may take."""

_MOST_REASON = 300
_NAME = re.compile(r"[!-~]{1,255}")


class KeyCommand:
    """Wraps and unwraps by `command`, an argument list. Raises `SealingRefused` (KEY_COMMAND) where that fails."""

    scheme = "command"

    def __init__(self, command: Sequence[str], deadline: float = DEADLINE) -> None:
        self._command = tuple(command)
        self._deadline = deadline

    def wrap(self, key: bytes) -> WrappedKey:
        """Wrap a data key under the key-encryption key that the program uses today."""
        name, wrapped = self._answer("wrap", (_text(key),), lines=2)
        if not _NAME.fullmatch(name):
            raise self._failed("wrote no name of a key: up to 255 printable characters without a space")
        return WrappedKey(f"{self.scheme}:{name}", self._bytes(wrapped))

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The data key."""
        name = wrapped.provider_key_id.partition(":")[2]
        (key,) = self._answer("unwrap", (name, _text(wrapped.wrapped)), lines=1)
        return self._bytes(key)

    def _answer(self, verb: str, said: Sequence[str], *, lines: int) -> list[str]:
        # By pipes, which leave nothing on a disk.
        try:
            process = subprocess.Popen(
                [*self._command, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise self._failed(f"cannot be started: {cause}") from error
        with process:
            try:
                output, errors = process.communicate("".join(f"{line}\n" for line in said).encode(), self._deadline)
            except subprocess.TimeoutExpired:
                raise self._failed(f"took longer than {self._deadline:g} s at {verb}") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with all that it may have left running
        if process.returncode:
            raise self._failed(f"ended with status {process.returncode} at {verb}{_last_words(errors)}")
        answer = output.decode("utf-8", "replace").splitlines()
        if len(answer) != lines:
            raise self._failed(f"wrote {len(answer)} lines at {verb}, not {lines}")
        return answer

    def _bytes(self, text: str) -> bytes:
        try:
            return base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._failed("wrote something that is not base64") from error

    def _failed(self, what: str) -> SealingRefused:
        return SealingRefused(SealingReason.KEY_COMMAND, f"the sealing key command {self._command[0]} {what}")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _last_words(stderr: bytes) -> str:
    words = " ".join(stderr.decode("utf-8", "replace").split())[-_MOST_REASON:]
    return f": {words}" if words else ""

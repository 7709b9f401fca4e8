"""Exit codes: the same for every process of the project. docs/exit-codes.md says what to do about each."""

import signal
from enum import IntEnum


class Exit(IntEnum):
    """What a process ended with. Values are stable."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_INPUT = 3
    NOT_FOUND = 4
    REFUSED = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    DEADLINE = 8
    PORT_TAKEN = 10
    HOME_NOT_WRITABLE = 11
    PASSPHRASE = 12
    TOKEN_MALFORMED = 13
    TOKEN_REFUSED = 14
    PIN_MISMATCH = 15
    PLANE_RUNS = 16
    SERVICE_FAILED = 17
    DEMO_FAILED = 20
    INTERRUPTED = 128 + signal.SIGINT


class Stopped(Exception):
    """A process cannot go on: one line that says why and what to do, and the code to exit with."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code

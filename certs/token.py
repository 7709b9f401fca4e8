"""One-time tokens: one printable line that is all a newcomer needs to enrol.

    moor_ + base32 of: version | number of pins | pins | secret | address | checksum
                         1            1          32 each   32     UTF-8       4       bytes

Base32 (RFC 4648) in lowercase without padding, so that a double click selects it whole and no shell minds it.
The checksum, the first bytes of the SHA-256 of all before it, tells a slip of the hand from a refusal by the
plane before anything is sent; it protects nothing.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Self

from certs.errors import CertsError

PREFIX = "moor_"
VERSION = 1
SECRET_BYTES = 32
PIN_BYTES = 32
MAX_PINS = 8
MAX_ADDRESS_BYTES = 300


class TokenReason(StrEnum):
    """Why a text is no token, or why none can be made."""

    NOT_A_TOKEN = auto()
    TRUNCATED = auto()
    CHECKSUM = auto()
    UNKNOWN_VERSION = auto()
    BAD_ADDRESS = auto()
    BAD_PINS = auto()
    BAD_SECRET = auto()


class TokenMalformed(CertsError[TokenReason]):
    """The text is no one-time token; the message never repeats any of it."""


@dataclass(frozen=True, slots=True, eq=False)
class OneTimeToken:
    """Where to enrol, which root to trust there, and the secret that proves the right to.

    `address` is `HOST:PORT`; `root_pins` are one to eight SHA-256 sums of DER root certificates (several
    during a change of roots); `secret` is 32 random bytes. Raises `TokenMalformed` if a part is not so.

    Only `encode` shows the secret: `repr` and `str` do not. Tokens are not compared: the plane looks for
    `secret_sha256`.
    """

    address: str
    root_pins: tuple[bytes, ...]
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_address(self.address)
        if not 1 <= len(self.root_pins) <= MAX_PINS or any(len(pin) != PIN_BYTES for pin in self.root_pins):
            raise TokenMalformed(
                TokenReason.BAD_PINS, f"a token has one to {MAX_PINS} root pins of {PIN_BYTES} bytes each"
            )
        if len(self.secret) != SECRET_BYTES:
            raise TokenMalformed(TokenReason.BAD_SECRET, f"the secret of a token has {SECRET_BYTES} bytes")

    def encode(self) -> str:
        """The printable line, without a line break."""
        body = bytes([VERSION, len(self.root_pins)]) + b"".join(self.root_pins) + self.secret + self.address.encode()
        return PREFIX + base64.b32encode(body + _checksum(body)).decode().rstrip("=").lower()

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` wrote; white space around it is ignored. Raises `TokenMalformed`."""
        body = _checked_body(text.strip())
        pins_end = 2 + PIN_BYTES * body[1]
        secret_end = pins_end + SECRET_BYTES
        try:
            address = body[secret_end:].decode()
        except UnicodeDecodeError as error:
            raise TokenMalformed(TokenReason.BAD_ADDRESS, "the token's address is not UTF-8") from error
        pins = tuple(body[start : start + PIN_BYTES] for start in range(2, pins_end, PIN_BYTES))
        return cls(address, pins, body[pins_end:secret_end])

    def secret_sha256(self) -> bytes:
        """SHA-256 of the secret, 32 bytes: the only form in which the plane keeps it."""
        return hashlib.sha256(self.secret).digest()


_CHECKSUM_BYTES = 4
_MIN_ADDRESS_BYTES = len("a:1")
_MAX_TOKEN_BYTES = 2 + PIN_BYTES * MAX_PINS + SECRET_BYTES + MAX_ADDRESS_BYTES + _CHECKSUM_BYTES
_BASE32 = re.compile(r"[a-z2-7]*")
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]\x00-\x1f\x7f]+):([1-9][0-9]{0,4})")


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM_BYTES]


def _checked_body(text: str) -> bytes:
    digits = text.removeprefix(PREFIX)
    if digits == text or len(digits) * 5 // 8 > _MAX_TOKEN_BYTES:
        raise TokenMalformed(TokenReason.NOT_A_TOKEN, f"a one-time token is one line that starts with {PREFIX}")
    if not _BASE32.fullmatch(digits):
        raise TokenMalformed(
            TokenReason.CHECKSUM, "the token has characters that no token has: it was not copied as it is"
        )
    try:
        content = base64.b32decode(digits.upper() + "=" * (-len(digits) % 8))
    except ValueError as error:  # a number of digits that no number of bytes gives
        raise _truncated() from error
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    whole = checksum == _checksum(body) and base64.b32encode(content).decode().rstrip("=").lower() == digits
    if whole and body[:1] != bytes([VERSION]):
        raise TokenMalformed(
            TokenReason.UNKNOWN_VERSION, f"the token is of version {body[0]}; this program knows {VERSION}"
        )
    if len(content) < 2 or (content[0] == VERSION and len(content) < _shortest(pins=content[1])):
        raise _truncated()
    if not whole:
        raise TokenMalformed(
            TokenReason.CHECKSUM, "the token's checksum is wrong: it was mistyped or its end is missing"
        )
    return body


def _shortest(*, pins: int) -> int:
    return 2 + PIN_BYTES * pins + SECRET_BYTES + _MIN_ADDRESS_BYTES + _CHECKSUM_BYTES


def _truncated() -> TokenMalformed:
    return TokenMalformed(TokenReason.TRUNCATED, "the token's end is missing: copy the whole line")


def _check_address(address: str) -> None:
    match = _HOST_AND_PORT.fullmatch(address)
    try:
        size = len(address.encode())
    except UnicodeEncodeError:
        size = 0
    if not match or int(match[1]) > 65535 or not 0 < size <= MAX_ADDRESS_BYTES:
        raise TokenMalformed(
            TokenReason.BAD_ADDRESS, f"an enrolment address is HOST:PORT of at most {MAX_ADDRESS_BYTES} bytes"
        )

"""Pages of a list (AIP-158), by the key of the last row seen, so that a walk meets each row once.

A page begins after a key, never at a count of rows: what is created or deleted meanwhile moves no other row to another
page. A token is opaque to clients. It holds that key and a digest that binds it to the request it was given for.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 50
"""How many rows a page has when `page_size` is 0 and the method says nothing else."""

_FREE_FIELDS = ("page_size", "page_token", "read_mask")
"""What may differ from page to page: it changes nothing about which rows there are, and in which order."""

_DIGEST_BYTES = 12
_INTEGERS = range(-(2**63), 2**63)


class Page(NamedTuple, Generic[T]):
    """One page: its rows, and the token for the next one, empty on the last."""

    rows: Sequence[T]
    next_page_token: str


def read_page(
    request: Message,
    read: Callable[[tuple[Any, ...] | None, int], Sequence[T]],
    key: Callable[[T], tuple[str | int, ...]],
    default_size: int = DEFAULT_PAGE_SIZE,
    types: Sequence[type] | None = None,
) -> Page[T]:
    """The page that a List `request` (with `page_size` and `page_token`) asks for.

    `read(after, limit)` gives the first `limit` rows beyond the key `after`, from the beginning where that is None;
    `key` is a row's place in that order, of texts unless `types` says what its parts are (`str`, `int`); a page has
    `default_size` rows where `page_size` is 0. Raises `Refusal` (PAGE_TOKEN_INVALID).
    """
    token: str = getattr(request, "page_token")  # noqa: B009 - List requests share no type that names the field
    size: int = getattr(request, "page_size") or default_size  # noqa: B009
    rows = read(PageToken.decode(token, request, types), size + 1)
    if len(rows) <= size:
        return Page(rows, "")
    return Page(rows[:size], PageToken.encode(key(rows[size - 1]), request))


class PageToken:
    """The text form of a place in a list."""

    @staticmethod
    def encode(last_key: tuple[str | int, ...], request: Message) -> str:
        """The token that continues after the row with `last_key` in the list that `request` asked for."""
        body = json.dumps(last_key, ensure_ascii=False, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_digest(body, request) + body).rstrip(b"=").decode()

    @staticmethod
    def decode(token: str, request: Message, types: Sequence[type] | None = None) -> tuple[Any, ...] | None:
        """The key that a token holds, None for an empty token; its parts have these `types`, or are texts.

        Raises `Refusal` (PAGE_TOKEN_INVALID) for one that was not given for such a request.
        """
        if not token:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            key = tuple(json.loads(raw[_DIGEST_BYTES:]))
            # Not only the digest: base64 has several spellings of the same bytes.
            if _fits(key, types) and PageToken.encode(key, request) == token:
                return key
        except (ValueError, TypeError):  # JSON can spell half a character, which is no text
            raise _refusal() from None
        raise _refusal()


def _fits(key: tuple[Any, ...], types: Sequence[type] | None) -> bool:
    """Whether a database can compare with the parts: anybody can make up a token, for it holds no secret."""
    if types is not None and [type(part) for part in key] != list(types):
        return False
    return all("\0" not in part if isinstance(part, str) else types is not None and part in _INTEGERS for part in key)


def _digest(body: bytes, request: Message) -> bytes:
    """Binds a key to the method and to all of the request that must stay the same from page to page."""
    same = type(request)()
    same.CopyFrom(request)
    for field in _FREE_FIELDS:
        if field in request.DESCRIPTOR.fields_by_name:
            same.ClearField(field)
    text = request.DESCRIPTOR.full_name.encode() + b"\0" + same.SerializeToString(deterministic=True) + b"\0" + body
    return hashlib.sha256(text).digest()[:_DIGEST_BYTES]


def _refusal() -> Refusal:
    return Refusal(
        Reason.REASON_PAGE_TOKEN_INVALID,
        "page_token is not one that was given for this request",
        field="page_token",
    )

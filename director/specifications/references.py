"""References within a document (`$ref`, RFC 6901 pointers): each must lead to a place in the document itself.

Nothing is ever fetched: a reference to another document is a problem.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote


def broken_references(document: Any) -> Iterator[str]:
    """A line for each reference that leads out of the document, or to nothing in it."""
    waiting: list[Any] = [document]
    seen: set[int] = set()
    told: set[str] = set()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict | list) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, list):
            waiting.extend(value)
            continue
        waiting.extend(value.values())
        reference = value.get("$ref")
        if isinstance(reference, str) and reference not in told:
            told.add(reference)
            if not reference.startswith("#"):
                yield f"the reference {reference} leads to another document, and such are not followed"
            elif not _leads_somewhere(document, reference):
                yield f"the reference {reference} leads to nothing in the document"


def _leads_somewhere(document: Any, reference: str) -> bool:
    pointer = unquote(reference[1:])
    if not pointer.startswith("/"):
        return True  # the document itself, or an anchor, which only the format's parser knows
    value = document
    for token in pointer[1:].split("/"):
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdecimal() and int(token) < len(value):
            value = value[int(token)]
        else:
            return False
    return True

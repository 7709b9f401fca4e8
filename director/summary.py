"""What a command did, for whoever ran it."""

import json
from collections.abc import Mapping
from typing import Any


def summary(done: Mapping[str, Any], *, is_json: bool) -> str:
    """The values by their names: as a JSON object, or as a line each."""
    if is_json:
        return json.dumps(done, indent=2) + "\n"
    lines = {f"{name}:": _text(value) for name, value in done.items()}
    width = max(map(len, lines))
    return "".join(f"{name:{width}}  {text}".rstrip() + "\n" for name, text in lines.items())


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name} {count}" for name, count in value.items())
        case list():
            return ", ".join(value)
    return str(value)

"""The `moorage` command inside the test's own process: what it loads is loaded once, not for each command anew."""

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from cli import exits
from cli.__main__ import moorage


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run_command(
    *arguments: str, stdin: bytes = b"", home: Path | None = None, contexts: Path | None = None, obj: object = None
) -> Ended:
    """Run a command to its end, with the plane in `home` as the one that it calls; `obj` is click's `Context.obj`.

    `contexts` is the folder of the contexts that there are; by default there are none.
    """
    environ = {"MOORAGE_CONFIG": str(contexts or "/nonexistent"), **({"MOORAGE_HOME": str(home)} if home else {})}
    written, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(written, encoding="utf-8", newline="", write_through=True)
    with (
        mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.dict(os.environ, environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = exits.run(lambda: moorage.main(list(arguments), prog_name="moorage", standalone_mode=False, obj=obj))
    return Ended(code, written.getvalue().decode(errors="surrogateescape"), err.getvalue())

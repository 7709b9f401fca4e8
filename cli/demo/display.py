"""The list of steps as they go by, on standard error: live on a terminal, a line a step elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

from cli.demo.report import Outcome

if TYPE_CHECKING:
    from rich.table import Table


class Display(Protocol):
    """Shows the steps; entered before the first, left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, title: str) -> None:
        """A step begins."""

    def end(self, outcome: Outcome, *, ok: bool) -> None:
        """The step that began last has ended."""


def display(titles: Sequence[str]) -> Display:
    """The display that suits where standard error goes."""
    return _Live(titles) if sys.stderr.isatty() else _Lines(titles)


class _Lines:
    def __init__(self, titles: Sequence[str]) -> None:
        self._width = max(map(len, titles))
        self._count = len(titles)
        self._number = 0
        self._title = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, title: str) -> None:
        self._number += 1
        self._title = title

    def end(self, outcome: Outcome, *, ok: bool) -> None:
        mark = "ok    " if ok else "FAILED"
        sys.stderr.write(
            f"{mark} {self._number:2}/{self._count} {self._title:{self._width}} "
            f"{outcome.ms:7.0f} ms  {outcome.detail}\n"
        )
        sys.stderr.flush()


class _Live:
    def __init__(self, titles: Sequence[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._titles = titles
        self._done: list[tuple[Outcome, bool]] = []
        self._began: float | None = None
        self._live = Live(
            console=Console(stderr=True), get_renderable=self._table, refresh_per_second=10, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._began = None
        self._live.stop()

    def begin(self, title: str) -> None:
        self._began = time.monotonic()
        self._live.refresh()

    def end(self, outcome: Outcome, *, ok: bool) -> None:
        self._done.append((outcome, ok))
        self._began = None
        self._live.refresh()

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), show_header=False)
        table.add_column()
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(overflow="fold")
        for number, title in enumerate(self._titles):
            if number < len(self._done):
                outcome, ok = self._done[number]
                mark = Text("✔", "green") if ok else Text("✘", "bold red")
                table.add_row(mark, title, f"{outcome.ms:.0f} ms", Text(outcome.detail, "" if ok else "red"))
            elif number == len(self._done) and self._began is not None:
                table.add_row(Text("▸", "cyan"), title, f"{(time.monotonic() - self._began) * 1000:.0f} ms", "")
            else:
                table.add_row(" ", Text(title, "dim"), "", "")
        return table

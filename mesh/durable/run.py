"""What the code of a workflow sees."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
"""What arguments and results of steps are made of."""


class Run(Protocol):
    """One run of a workflow, as its code sees it."""

    @property
    def workflow_id(self) -> str:
        """The id that it was started by."""

    async def step(self, name: str, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `body()` on the service's loop, or give its remembered result if it has ended before.

        The result is `Json` and holds no secret. A body may run again after a crash that came before its result was
        stored, so it must be idempotent. What it raises ends the workflow: expected failures are results.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait; a restart does not begin the wait anew."""


Workflow: TypeAlias = Callable[..., Awaitable[None]]
"""`async def workflow(run: Run, *args: Json)`: deterministic but for its steps."""

"""What a credential is for: an API of an Application, or a bundle."""

from dataclasses import dataclass
from typing import TypedDict

import click

from cli import references
from cli.connection import Connection
from cli.options import gathered


class TargetId(TypedDict, total=False):
    """The one field of the contract's `target` that is set."""

    api_id: str
    bundle_id: str


@dataclass(frozen=True)
class TargetOptions:
    """One API or one bundle, by id or name."""

    api: str | None
    bundle: str | None

    def __post_init__(self) -> None:
        """Raises `click.UsageError` for none and for both."""
        if (self.api is None) == (self.bundle is None):
            raise click.UsageError("Give either --api or --bundle.", click.get_current_context())

    async def id(self, plane: Connection, application_id: str) -> TargetId:
        """Which it is. Raises `Stopped` (NOT_FOUND) for a name that nothing of the Application has."""
        if self.api is not None:
            return {"api_id": await references.api_id(plane, application_id, self.api)}
        return {"bundle_id": await references.bundle_id(plane, application_id, self.bundle or "")}

    def __str__(self) -> str:
        return f"api {self.api}" if self.api is not None else f"bundle {self.bundle}"


target_options = gathered(
    "target",
    TargetOptions,
    click.option("--api", help="Id or name of the API that it is for."),
    click.option("--bundle", help="Id or name of the bundle that it is for: for all in it that has none of its own."),
)

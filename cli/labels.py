"""Labels of an Application or a Runtime, as options give and take them."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

import click

from cli.options import gathered


class Label(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`; the value may be empty."""

    name = "key=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read it; fails as click's types do."""
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value} is not KEY=VALUE.", param, ctx)
        return key, text


label_option = click.option(
    "--label", "labels", type=Label(), multiple=True, help="A label, as KEY=VALUE; may be given again."
)


@dataclass(frozen=True)
class LabelChanges:
    """Labels to set, and keys of those to take away; all others stay."""

    labels: Sequence[tuple[str, str]]
    removed_labels: Sequence[str]

    @property
    def given(self) -> bool | None:
        """True where there is anything to change, else None."""
        return bool(self.labels or self.removed_labels) or None

    def upon(self, current: Mapping[str, str], changed: MutableMapping[str, str]) -> None:
        """Fill `changed` with the `current` labels as they are to become."""
        changed.update({**current, **dict(self.labels)})
        for key in self.removed_labels:
            changed.pop(key, None)


label_changes_options = gathered(
    "labels",
    LabelChanges,
    click.option(
        "--label", "labels", type=Label(), multiple=True, help="A label to set, as KEY=VALUE; may be given again."
    ),
    click.option(
        "--remove-label",
        "removed_labels",
        metavar="KEY",
        multiple=True,
        help="Key of a label to take away; may be given again.",
    ),
)

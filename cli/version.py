"""The version of an API or an Event API, as options tell it."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cli.options import Instant, gathered

if TYPE_CHECKING:
    from moorage.director.v1.version_pb2 import ApiVersion


@dataclass(frozen=True)
class VersionOptions:
    """What is said of the version; None for what is not spoken of."""

    version: str | None
    deprecated: bool | None
    deprecation_notice: str | None
    removal_time: datetime | None

    @property
    def given(self) -> bool | None:
        """True where anything was said, else None."""
        return self != _NOTHING or None

    def upon(self, current: "ApiVersion") -> "ApiVersion":
        """The `current` version as it is to become; what was not spoken of stays."""
        from moorage.director.v1.version_pb2 import ApiVersion

        version = ApiVersion()
        version.CopyFrom(current)
        if self.version is not None:
            version.value = self.version
        if self.deprecated is not None:
            version.deprecated = self.deprecated
        if self.deprecated is False:
            version.ClearField("deprecation_notice")
            version.ClearField("removal_time")
        if self.deprecation_notice is not None:
            version.deprecation_notice = self.deprecation_notice
        if self.removal_time is not None:
            version.removal_time.FromDatetime(self.removal_time)
        return version

    def new(self) -> "ApiVersion | None":
        """The version of what is created; None where nothing was said of it."""
        from moorage.director.v1.version_pb2 import ApiVersion

        return self.upon(ApiVersion()) if self.given else None


_NOTHING = VersionOptions(None, None, None, None)

version_options = gathered(
    "version",
    VersionOptions,
    click.option("--version", help="Which version of the interface it is, such as v2 or 1.4.0."),
    click.option(
        "--deprecated/--not-deprecated",
        default=None,
        help="Whether it should no longer be used; --not-deprecated drops notice and removal time too.",
    ),
    click.option("--deprecation-notice", help="Why, and what to use instead, up to 500 characters."),
    click.option(
        "--removal-time", type=Instant(), help="When it is to be removed: 2030-01-31, or 2030-01-31T12:00:00Z."
    ),
)
version_group_option = click.option(
    "--version-group", help="The name, a DNS label, that the versions of one interface share."
)

"""How the tables of offers keep an `ApiVersion`."""

from collections.abc import Mapping
from typing import Any

from moorage.director.v1.version_pb2 import ApiVersion

from director.times import from_timestamp, to_timestamp


def columns_of(version: ApiVersion) -> dict[str, Any]:
    """The columns that hold a version; of an empty one, as of none."""
    return {
        "version": version.value,
        "version_deprecated": version.deprecated,
        "version_deprecation_notice": version.deprecation_notice,
        "version_removal_time": from_timestamp(version.removal_time) if version.HasField("removal_time") else None,
    }


def version_in(row: Mapping[str, Any]) -> ApiVersion | None:
    """The version that a row holds, if it holds one."""
    removal_time = row["version_removal_time"]
    version = ApiVersion(
        value=row["version"],
        deprecated=row["version_deprecated"],
        deprecation_notice=row["version_deprecation_notice"],
        removal_time=None if removal_time is None else to_timestamp(removal_time),
    )
    return version if version.ListFields() else None

"""Migrations of the Connector's database: one file a version in `versions/`."""

HEAD = "0002"
"""The version that `connector.store.metadata` describes."""

OLDEST = "0001"
"""The oldest version whose code works on that: whatever came since is new, and nobody has to write it."""

"""Migrations of the Connector's database: one file a version in `versions/`."""

HEAD = "0001"
"""The version that `connector.store.metadata` describes."""

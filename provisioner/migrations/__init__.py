"""Migrations of the Provisioner's database: one file a version in `versions/`."""

HEAD = "0001"
"""The version that `provisioner.store.metadata` describes."""

"""How the Director's tables came to be what `director.store.tables` says: Alembic scripts in `versions/`."""

HEAD = "0005"
"""The newest of them."""

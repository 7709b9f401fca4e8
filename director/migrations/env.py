"""Run by Alembic; the work is in `mesh.migration`."""

from director.store.tables import metadata
from mesh.migration import run_migrations

run_migrations(metadata)

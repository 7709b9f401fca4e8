"""How the Director's tables came to be what `director.store.tables` says: Alembic migrations, oldest first."""

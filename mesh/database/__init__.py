"""The database unit of work: plain synchronous functions `f(tx, ...)`, each run whole in one transaction.

What a unit raises rolls it back and reaches the caller; a database that cannot be reached or written becomes
DATABASE_UNAVAILABLE. There are two engines, SQLite for one instance and PostgreSQL for any number, with one contract.
"""

from mesh.database.limits import Limits
from mesh.database.prepared import OneOf, Prepared
from mesh.database.unit import Database, RolledBack, announce

__all__ = ["Database", "Limits", "OneOf", "Prepared", "RolledBack", "announce"]

"""The Director's tables and the queries upon them: the only SQL of this service."""

from sqlalchemy import Connection as Transaction

__all__ = ["Transaction"]

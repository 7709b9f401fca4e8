"""The Connector's tables (`tables`) and every statement on them, a module for each kind of thing."""

from connector.store.audit import Action, Origin, record
from connector.store.base import Transaction, metadata

__all__ = ["Action", "Origin", "Transaction", "metadata", "record"]

"""Connector: one-time tokens to client certificates, and what becomes of those certificates."""

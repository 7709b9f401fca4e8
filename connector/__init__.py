"""Connector: one-time tokens to client certificates, and what becomes of those certificates."""

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
